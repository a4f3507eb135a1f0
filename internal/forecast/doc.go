// Package forecast says from what a run has measured what is to come: trends of what
// grows, and the risk that a trial fails. It is pure.
package forecast
