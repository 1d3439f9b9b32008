package conf

import "github.com/plantloom/plantloom/internal/nearest"

// Nearest returns the known name that name was probably meant to be, or "" when
// none is near, as nearest.Name does.
func Nearest(name string, known []string) string { return nearest.Name(name, known) }
