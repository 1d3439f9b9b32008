package uaserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
	"github.com/gopcua/opcua/uasc"
)

// startLean serves without the library's server package: its secure channels
// carry requests straight to this package's handlers.
func (s *Server) startLean(ctx context.Context) (addr string, err error) {
	l, err := uacp.Listen(ctx, "opc.tcp://127.0.0.1:0", nil)
	if err != nil {
		return "", fmt.Errorf("opening the inner listener: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	handlers := s.handlers()
	s.wg.Go(func() {
		for ctx.Err() == nil {
			c, err := l.Accept(ctx)
			if err != nil {
				continue // a client that broke its greeting, or the end
			}
			s.wg.Go(func() {
				defer func() { _ = c.Close() }()
				if err := s.serveChannel(ctx, c, handlers); err != nil {
					s.log.Debug("channel ended", "err", err)
				}
			})
		}
	})
	return l.Addr().String(), nil
}

// serveChannel passes one secure channel's requests on until it ends.
func (s *Server) serveChannel(ctx context.Context, c *uacp.Conn, handlers map[uint16]service) error {
	cfg := &uasc.Config{
		SecurityPolicyURI: ua.SecurityPolicyURINone, SecurityMode: ua.MessageSecurityModeNone,
		Lifetime: uint32(time.Hour / time.Millisecond), Certificate: s.cert, LocalKey: s.key,
	}
	// Random ids, so that a restarted server does not know old channels.
	sc, err := uasc.NewServerSecureChannel("", c, cfg, make(chan error, 1), rand.Uint32()|1, rand.Uint32N(1023)+1, rand.Uint32()|1)
	if err != nil {
		return fmt.Errorf("opening a channel: %w", err)
	}
	for {
		msg := sc.Receive(ctx)
		if msg.Err != nil {
			return msg.Err
		}
		req := msg.Request()
		if req == nil {
			continue // the channel was opened or renewed
		}
		h, ok := handlers[ua.ServiceTypeID(req)]
		if !ok {
			h = service{"Unsupported", func(*call) (ua.Response, error) { return nil, ua.StatusBadServiceUnsupported }}
		}
		s.enqueue(h, sc, req, msg.RequestID)
	}
}

// leanNodes are the standard objects that a lean server knows.
func leanNodes() map[uint32]string {
	return map[uint32]string{
		id.RootFolder: "Root", id.ObjectsFolder: "Objects", id.TypesFolder: "Types",
		id.ViewsFolder: "Views", id.Server: "Server",
	}
}

func leanAttribute(n *ua.NodeID, a ua.AttributeID, now time.Time) (*ua.DataValue, ua.StatusCode) {
	name, ok := leanNodes()[n.IntID()]
	if !ok {
		return nil, ua.StatusBadNodeIDUnknown
	}
	switch a {
	case ua.AttributeIDNodeID:
		return attributeValue(n, now), ua.StatusOK
	case ua.AttributeIDNodeClass:
		return attributeValue(int32(ua.NodeClassObject), now), ua.StatusOK
	case ua.AttributeIDBrowseName:
		return attributeValue(&ua.QualifiedName{Name: name}, now), ua.StatusOK
	case ua.AttributeIDDisplayName:
		return attributeValue(ua.NewLocalizedText(name), now), ua.StatusOK
	}
	return nil, ua.StatusBadAttributeIDInvalid
}

func leanBrowse(d *ua.BrowseDescription) ([]*ua.ReferenceDescription, ua.StatusCode) {
	if _, ok := leanNodes()[d.NodeID.IntID()]; !ok {
		return nil, ua.StatusBadNodeIDUnknown
	}
	var refs []*ua.ReferenceDescription
	add := func(n uint32, forward bool) {
		refs = append(refs, &ua.ReferenceDescription{
			ReferenceTypeID: ua.NewNumericNodeID(0, id.Organizes), IsForward: forward, NodeClass: ua.NodeClassObject,
			NodeID: ua.NewNumericExpandedNodeID(0, n), BrowseName: &ua.QualifiedName{Name: leanNodes()[n]},
			DisplayName: ua.NewLocalizedText(leanNodes()[n]), TypeDefinition: ua.NewNumericExpandedNodeID(0, id.FolderType),
		})
	}
	switch d.NodeID.IntID() {
	case id.RootFolder:
		add(id.ObjectsFolder, true)
		add(id.TypesFolder, true)
		add(id.ViewsFolder, true)
	case id.ObjectsFolder:
		add(id.Server, true)
		add(id.RootFolder, false)
	case id.Server:
		add(id.ObjectsFolder, false)
	}
	return filtered(d, refs), ua.StatusOK
}
