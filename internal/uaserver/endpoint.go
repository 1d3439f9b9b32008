package uaserver

import "github.com/gopcua/opcua/ua"

// getEndpoints answers GetEndpoints for every URL: clients behind a port
// forward ask with a URL that the server does not know.
func (s *Server) getEndpoints(cl *call) (ua.Response, error) {
	return &ua.GetEndpointsResponse{ResponseHeader: cl.header(ua.StatusOK), Endpoints: s.endpoints()}, nil
}

func (s *Server) findServers(cl *call) (ua.Response, error) {
	return &ua.FindServersResponse{
		ResponseHeader: cl.header(ua.StatusOK),
		Servers:        []*ua.ApplicationDescription{s.description()},
	}, nil
}

func (s *Server) description() *ua.ApplicationDescription {
	return &ua.ApplicationDescription{
		ApplicationURI: s.opts.ApplicationURI, ProductURI: "urn:plantloom:demo",
		ApplicationName: ua.NewLocalizedText("Plantloom demo OPC UA server"),
		ApplicationType: ua.ApplicationTypeServer, DiscoveryURLs: []string{s.url},
	}
}

// endpoints lists the security choices and, for each, how users log in.
func (s *Server) endpoints() []*ua.EndpointDescription {
	type choice struct {
		policy string
		mode   ua.MessageSecurityMode
		level  uint8
	}
	var choices []choice
	if !s.opts.SecureOnly {
		choices = append(choices, choice{ua.SecurityPolicyURINone, ua.MessageSecurityModeNone, 0})
	}
	if s.cert != nil {
		choices = append(choices,
			choice{ua.SecurityPolicyURIBasic256Sha256, ua.MessageSecurityModeSign, 10},
			choice{ua.SecurityPolicyURIBasic256Sha256, ua.MessageSecurityModeSignAndEncrypt, 20})
	}
	var out []*ua.EndpointDescription
	for _, c := range choices {
		out = append(out, &ua.EndpointDescription{
			EndpointURL: s.url, Server: s.description(), ServerCertificate: s.cert,
			SecurityMode: c.mode, SecurityPolicyURI: c.policy, SecurityLevel: c.level,
			UserIdentityTokens:  s.tokenPolicies(),
			TransportProfileURI: "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary",
		})
	}
	return out
}

const (
	policyAnonymous = "anonymous"
	policyUser      = "username"
)

// tokenPolicies: a password is encrypted with the server's certificate when
// there is one, on every channel.
func (s *Server) tokenPolicies() []*ua.UserTokenPolicy {
	var out []*ua.UserTokenPolicy
	if !s.opts.NoAnonymous {
		out = append(out, &ua.UserTokenPolicy{PolicyID: policyAnonymous, TokenType: ua.UserTokenTypeAnonymous, SecurityPolicyURI: ua.SecurityPolicyURINone})
	}
	if len(s.opts.Users) > 0 {
		out = append(out, &ua.UserTokenPolicy{PolicyID: policyUser, TokenType: ua.UserTokenTypeUserName, SecurityPolicyURI: s.passwordPolicy()})
	}
	return out
}

func (s *Server) passwordPolicy() string {
	if s.cert != nil {
		return ua.SecurityPolicyURIBasic256Sha256
	}
	return ua.SecurityPolicyURINone
}
