package study

import _ "embed"

// JSONSchema is the JSON Schema of the study file, for editors. Parse checks
// more than a schema can say.
//
//go:embed study.schema.json
var JSONSchema []byte
