package uaserver

import (
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// folder is an object in the browse tree, made from the dots in variable
// names: "L1.Cnt.Good" is Objects / L1 / Cnt / Good. The folder of path p has
// the node id s=p.
type folder struct {
	path     string
	parent   *folder
	children map[string]*folder
	vars     map[string]*Var // by last part of the name
}

func newFolder(path string, parent *folder) *folder {
	return &folder{path: path, parent: parent, children: map[string]*folder{}, vars: map[string]*Var{}}
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// at returns the folder that holds the variable of that name; create makes the
// missing ones.
func (f *folder) at(name string, create bool) *folder {
	parts := strings.Split(name, ".")
	for i, p := range parts[:len(parts)-1] {
		next := f.children[p]
		if next == nil {
			if !create {
				return nil
			}
			next = newFolder(strings.Join(parts[:i+1], "."), f)
			f.children[p] = next
		}
		f = next
	}
	return f
}

func (f *folder) add(name string, v *Var) { f.at(name, true).vars[lastPart(name)] = v }

func (f *folder) remove(name string) {
	if in := f.at(name, false); in != nil {
		delete(in.vars, lastPart(name))
	}
}

// find returns the folder with that node id, or nil.
func (f *folder) find(n *ua.NodeID, ns uint16) *folder {
	if n.Namespace() != ns || n.Type() != ua.NodeIDTypeString || n.StringID() == "" {
		return nil
	}
	in := f.at(n.StringID()+".", false)
	if in == f {
		return nil
	}
	return in
}

func (f *folder) attribute(a ua.AttributeID, ns uint16, now time.Time) (*ua.DataValue, ua.StatusCode) {
	var value any
	switch a {
	case ua.AttributeIDNodeID:
		value = ua.NewStringNodeID(ns, f.path)
	case ua.AttributeIDNodeClass:
		value = int32(ua.NodeClassObject)
	case ua.AttributeIDBrowseName:
		value = &ua.QualifiedName{NamespaceIndex: ns, Name: lastPart(f.path)}
	case ua.AttributeIDDisplayName:
		value = ua.NewLocalizedText(lastPart(f.path))
	case ua.AttributeIDEventNotifier:
		value = byte(0)
	default:
		return nil, ua.StatusBadAttributeIDInvalid
	}
	return attributeValue(value, now), ua.StatusOK
}

// reference builds a reference to one of our nodes.
func (s *Server) reference(refType uint32, forward bool, path string, class ua.NodeClass) *ua.ReferenceDescription {
	r := &ua.ReferenceDescription{
		ReferenceTypeID: ua.NewNumericNodeID(0, refType), IsForward: forward, NodeClass: class,
		NodeID:         ua.NewStringExpandedNodeID(s.ns, path),
		BrowseName:     &ua.QualifiedName{NamespaceIndex: s.ns, Name: lastPart(path)},
		DisplayName:    ua.NewLocalizedText(lastPart(path)),
		TypeDefinition: ua.NewNumericExpandedNodeID(0, id.FolderType),
	}
	if class == ua.NodeClassVariable {
		r.TypeDefinition = typeDefinition()
	}
	return r
}

// references lists a folder's references: children first, in name order.
func (s *Server) references(f *folder) []*ua.ReferenceDescription {
	var out []*ua.ReferenceDescription
	for _, name := range sortedKeys(f.children) {
		out = append(out, s.reference(id.Organizes, true, f.children[name].path, ua.NodeClassObject))
	}
	for _, name := range sortedKeys(f.vars) {
		out = append(out, s.reference(id.HasComponent, true, f.vars[name].name, ua.NodeClassVariable))
	}
	if f.parent != nil {
		out = append(out, s.parentReference(id.Organizes, f.parent))
	}
	return out
}

func (s *Server) parentReference(refType uint32, parent *folder) *ua.ReferenceDescription {
	r := s.reference(refType, false, parent.path, ua.NodeClassObject)
	if parent.parent == nil {
		r.NodeID = ua.NewNumericExpandedNodeID(0, id.ObjectsFolder)
		r.BrowseName, r.DisplayName = &ua.QualifiedName{Name: "Objects"}, ua.NewLocalizedText("Objects")
	}
	return r
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// browseOne lists what the client asked for of one node. The caller holds
// Server.mu.
func (s *Server) browseOne(d *ua.BrowseDescription) ([]*ua.ReferenceDescription, ua.StatusCode) {
	if d.NodeID == nil {
		return nil, ua.StatusBadNodeIDInvalid
	}
	var refs []*ua.ReferenceDescription
	v := s.nodes[d.NodeID.String()]
	f := s.tree.find(d.NodeID, s.ns)
	switch {
	case v != nil && v.read == nil:
		refs = append(refs, s.parentReference(id.HasComponent, s.tree.at(v.name, false)))
		refs = append(refs, typeReference(id.BaseDataVariableType, "BaseDataVariableType", ua.NodeClassVariableType))
	case f != nil:
		refs = append(s.references(f), typeReference(id.FolderType, "FolderType", ua.NodeClassObjectType))
	case d.NodeID.Namespace() == 0:
		standard, code := s.standardReferences(d)
		if code == ua.StatusOK && d.NodeID.IntID() == id.ObjectsFolder {
			standard = append(standard, filtered(d, s.references(s.tree))...)
		}
		return standard, code
	default:
		return nil, ua.StatusBadNodeIDUnknown
	}
	return filtered(d, refs), ua.StatusOK
}

// filtered keeps what d asks for of our own references.
func filtered(d *ua.BrowseDescription, refs []*ua.ReferenceDescription) []*ua.ReferenceDescription {
	return slices.DeleteFunc(refs, func(r *ua.ReferenceDescription) bool { return !wanted(d, r) })
}

// standardReferences lists the references among standard nodes that d asks for.
func (s *Server) standardReferences(d *ua.BrowseDescription) ([]*ua.ReferenceDescription, ua.StatusCode) {
	if s.opts.Lean {
		return leanBrowse(d)
	}
	s.libMu.Lock()
	defer s.libMu.Unlock()
	res := s.ns0.Browse(d)
	return slices.Clone(res.References), res.StatusCode
}

func typeReference(typeID uint32, name string, class ua.NodeClass) *ua.ReferenceDescription {
	return &ua.ReferenceDescription{
		ReferenceTypeID: ua.NewNumericNodeID(0, id.HasTypeDefinition), IsForward: true, NodeClass: class,
		NodeID: ua.NewNumericExpandedNodeID(0, typeID), BrowseName: &ua.QualifiedName{Name: name},
		DisplayName: ua.NewLocalizedText(name), TypeDefinition: ua.NewTwoByteExpandedNodeID(0),
	}
}

// wanted applies direction, reference type and node class. Our nodes use only
// Organizes, HasComponent (hierarchical) and HasTypeDefinition.
func wanted(d *ua.BrowseDescription, r *ua.ReferenceDescription) bool {
	if d.BrowseDirection == ua.BrowseDirectionForward && !r.IsForward ||
		d.BrowseDirection == ua.BrowseDirectionInverse && r.IsForward {
		return false
	}
	if d.NodeClassMask != 0 && d.NodeClassMask&uint32(r.NodeClass) == 0 {
		return false
	}
	if d.ReferenceTypeID == nil || d.ReferenceTypeID.Namespace() != 0 || d.ReferenceTypeID.IntID() == 0 {
		return d.ReferenceTypeID == nil || d.ReferenceTypeID.Namespace() == 0
	}
	want, have := d.ReferenceTypeID.IntID(), r.ReferenceTypeID.IntID()
	if want == have {
		return true
	}
	if !d.IncludeSubtypes {
		return false
	}
	switch want {
	case id.References:
		return true
	case id.HierarchicalReferences, id.HasChild:
		return have == id.Organizes && want == id.HierarchicalReferences || have == id.HasComponent
	case id.Aggregates:
		return have == id.HasComponent
	case id.NonHierarchicalReferences:
		return have == id.HasTypeDefinition
	}
	return false
}
