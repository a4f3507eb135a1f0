package main

import (
	"encoding/json"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"ratchet"
	"ratchet/study"
)

// schemaOf is the JSON Schema of a document.
func schemaOf[T any](title string) ([]byte, error) {
	text := &jsonschema.Schema{Type: "string"}
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[study.Duration](): text, reflect.TypeFor[study.Bytes](): text, reflect.TypeFor[study.Money](): text,
	}})
	if err != nil {
		return nil, err
	}
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// proposalSchemas are those of what `ask --json` and `tell --json` print.
var proposalSchemas = map[string]func() ([]byte, error){
	"ask":  func() ([]byte, error) { return schemaOf[ratchet.Ask]("What is known in an open run") },
	"tell": func() ([]byte, error) { return schemaOf[ratchet.Answer]("What became of a proposal") },
}
