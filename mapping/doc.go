// Package mapping is the front of the mapping language: it reads the mapping files, plant files, machine tables and
// look-up tables of a plant directory, checks them, has package engine compile them, and binds the result to machines.
//
// It owns the file format, which README.md beside this file describes. It reports every fault of every file in one
// pass, each at its line and column. It reads files only through the fs.FS that it is given (LintPath opens one), and
// never runs a rule, looks at a clock or talks to Kafka. The step, the dispatcher, the command line and package maptest
// import it.
package mapping
