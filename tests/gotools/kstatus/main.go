// Command kstatus reads Kubernetes objects, one JSON document a line, and writes what Flux makes of each: the
// status and message that github.com/fluxcd/cli-utils/pkg/kstatus computes, one JSON document a line in the same order.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := answer(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func answer(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	encoder := json.NewEncoder(out)
	for {
		// Unmarshalling by way of Unstructured keeps whole numbers whole, as a client does; kstatus asks for int64.
		object := &unstructured.Unstructured{}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := encoder.Encode(map[string]string{
			"status": result.Status.String(), "message": result.Message,
		}); err != nil {
			return err
		}
	}
}
