package conf

// The codes of this package's faults. They are stable: scripts, editors and the
// documentation refer to them.
const (
	CodeUnreadable    = "unreadable"     // the file cannot be read
	CodeTooLarge      = "too-large"      // the file exceeds its limit of bytes
	CodeTooMany       = "too-many"       // more faults than are listed
	CodeTooDeep       = "too-deep"       // nesting exceeds its limit
	CodeEncoding      = "encoding"       // bytes that are not UTF-8, or a control character
	CodeEmpty         = "empty"          // nothing is in the file, or no value behind a key
	CodeSyntax        = "yaml-syntax"    // not YAML
	CodeTab           = "yaml-tab"       // a tab where YAML wants spaces
	CodeColon         = "yaml-colon"     // ": " inside an unquoted value
	CodeReserved      = "yaml-reserved"  // an unquoted value begins with a reserved character
	CodeAnchor        = "yaml-anchor"    // anchors, aliases and merge keys
	CodeTag           = "yaml-tag"       // an unquoted value that begins with "!"
	CodeDocuments     = "yaml-documents" // more than one document in a file
	CodeKey           = "yaml-key"       // a key that is not a scalar
	CodeDuplicateKey  = "duplicate-key"  // the same key twice in a map
	CodeUnknownKey    = "unknown-key"    // a key that is not known here
	CodeLaterKey      = "later-feature"  // a key of a feature that does not exist yet
	CodeMissingKey    = "missing-key"    // a required key is absent
	CodeWrongKind     = "wrong-kind"     // a map, list or scalar where another is wanted
	CodeWrongType     = "wrong-type"     // a scalar that is not of the wanted type
	CodeOutOfRange    = "out-of-range"   // a number that its type or limit does not hold
	CodeUnknownValue  = "unknown-value"  // not one of the values of an enumeration
	CodeLiteralSecret = "literal-secret" // a secret written into the file
	CodeSecret        = "secret"         // a reference to a secret that cannot be right
)
