package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// fill sets m's fields from query parameters, by their proto or JSON names. Unlike grpc-gateway it refuses a parameter
// that m does not have: a filter that was misspelt must not be answered with everything.
func fill(m proto.Message, q url.Values) error {
	keys := make([]string, 0, len(q))
	for k := range q {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	set := map[string]bool{}
	for _, key := range keys {
		name, ok := fieldName(m.ProtoReflect().Descriptor(), key)
		switch {
		case !ok:
			return badField(key, "is not a parameter here; there are: "+strings.Join(parameters(m.ProtoReflect().Descriptor(), ""), ", "))
		case set[name]:
			return badField(name, "is given twice")
		}
		set[name] = true
		if err := runtime.PopulateQueryParameters(m, url.Values{key: q[key]}, utilities.NewDoubleArray(nil)); err != nil {
			return badField(name, fmt.Sprintf("%q cannot be read: %v", strings.Join(q[key], ", "), err))
		}
	}
	return nil
}

// fieldName resolves a dotted parameter to proto names.
func fieldName(d protoreflect.MessageDescriptor, key string) (string, bool) {
	first, rest, nested := strings.Cut(key, ".")
	f := d.Fields().ByName(protoreflect.Name(first))
	if f == nil {
		f = d.Fields().ByJSONName(first)
	}
	switch {
	case f == nil || nested != (f.Message() != nil):
		return "", false
	case !nested:
		return string(f.Name()), true
	}
	name, ok := fieldName(f.Message(), rest)
	return string(f.Name()) + "." + name, ok
}

func parameters(d protoreflect.MessageDescriptor, prefix string) []string {
	var names []string
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); f.Message() != nil {
			names = append(names, parameters(f.Message(), prefix+string(f.Name())+".")...)
		} else {
			names = append(names, prefix+string(f.Name()))
		}
	}
	if len(names) == 0 && prefix == "" {
		names = []string{"none"}
	}
	return names
}

// strict checks the query parameters of REST calls before grpc-gateway reads them.
func strict(rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m proto.Message = &gatewayv1.GetStatusRequest{} // no parameters
		switch r.URL.Path {
		case "/v1/orders":
			m = &gatewayv1.ListOrdersRequest{}
		case "/v1/tags":
			m = &gatewayv1.ReadTagsRequest{}
		case "/v1/deadletters":
			m = &gatewayv1.ListDeadLettersRequest{}
		}
		if r.Method == http.MethodGet {
			if err := fill(m, r.URL.Query()); err != nil {
				writeProblem(w, status.Convert(err))
				return
			}
		}
		rest.ServeHTTP(w, r)
	})
}
