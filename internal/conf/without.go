package conf

import "slices"

// Without returns the map without some of its keys, for a reader that shares it with another one. n does not change.
func (n *Node) Without(keys ...string) *Node {
	if n.Kind() != Map {
		return n
	}
	c := *n
	c.keys = slices.DeleteFunc(slices.Clone(n.keys), func(k string) bool { return slices.Contains(keys, k) })
	c.fields = make(map[string]*Node, len(c.keys))
	for _, k := range c.keys {
		c.fields[k] = n.fields[k]
	}
	return &c
}
