package maptest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Text writes the report for people: a line per test, and below a failed one what is not as expected.
func (r *Report) Text(w io.Writer) error {
	if err := r.Faults.Text(w); err != nil {
		return err
	}
	var b strings.Builder
	for _, c := range r.Cases {
		if len(c.Failures) == 0 {
			fmt.Fprintf(&b, "ok    %s: %s\n", c.Mapping, c.Name)
			continue
		}
		fmt.Fprintf(&b, "FAIL  %s: %s\n", c.Mapping, c.Name)
		for _, f := range c.Failures {
			fmt.Fprintf(&b, "    %s: %s\n", f.At, f.line())
		}
	}
	switch failed := r.Failed(); {
	case r.Faults.HasErrors():
		b.WriteString("no test was run: mend the faults first\n")
	case len(r.Cases) == 0:
		b.WriteString("no tests found\n")
	case failed > 0:
		fmt.Fprintf(&b, "%d of %d tests failed\n", failed, len(r.Cases))
	default:
		fmt.Fprintf(&b, "%d tests passed, each in %d ways\n", len(r.Cases), len(ways()))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the test report: %w", err)
	}
	return nil
}

func (f Failure) line() string {
	if f.Way == "" {
		return f.Message
	}
	return f.Way + ": " + f.Message
}

// The JUnit form that CI servers read.
type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Error   *junitFailure `xml:"error,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as JUnit XML: one suite per mapping. A fault of a file is an error of the suite lint.
func (r *Report) JUnit(w io.Writer) error {
	var out junitSuites
	if r.Faults.HasErrors() {
		lint := junitSuite{Name: "lint"}
		for _, f := range r.Faults.All() {
			lint.Tests++
			lint.Errors++
			lint.Cases = append(lint.Cases, junitCase{Class: "lint", Name: f.Pos.String(), File: f.Pos.File,
				Error: &junitFailure{Message: f.Error(), Text: f.Hint}})
		}
		out.Suites = append(out.Suites, lint)
	}
	at := map[string]int{}
	for _, c := range r.Cases {
		i, ok := at[c.At.File]
		if !ok {
			i = len(out.Suites)
			at[c.At.File] = i
			out.Suites = append(out.Suites, junitSuite{Name: c.Mapping})
		}
		s := &out.Suites[i]
		s.Tests++
		jc := junitCase{Class: c.Mapping, Name: c.Name, File: c.At.File}
		if len(c.Failures) > 0 {
			s.Failures++
			var lines []string
			for _, f := range c.Failures {
				lines = append(lines, fmt.Sprintf("%s: %s", f.At, f.line()))
			}
			first, _, _ := strings.Cut(c.Failures[0].line(), "\n")
			jc.Failure = &junitFailure{Message: first, Text: strings.Join(lines, "\n")}
		}
		s.Cases = append(s.Cases, jc)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}
