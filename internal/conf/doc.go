// Package conf reads what people write: YAML files, strictly and node by node.
//
// It reports every fault of every file in one pass, each with file, line and
// column, a stable code, the nearest right name and what to do, and draws the
// source line with a caret under the column. Decoding follows the type of the
// target, so an order number 0017 stays text and a duration needs its unit.
// Secrets are given by reference (env:NAME, file:PATH) and never printed.
//
// It never guesses, never substitutes variables, never follows anchors, aliases
// or merge keys, and never reads a file that it was not asked to read. It holds
// no state between calls. Every package of the project may import it; of them it
// imports internal/nearest only.
package conf
