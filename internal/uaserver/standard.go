package uaserver

import (
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// addStandardNodes defines the nodes of namespace 0 whose values are this
// server's own. The library knows the rest of that namespace.
func (s *Server) addStandardNodes() {
	lim := &s.opts.Limits
	for _, n := range []struct {
		id       uint32
		name     string
		dataType uint32
		read     func() any // called with Server.mu held
	}{
		{id.Server_NamespaceArray, "NamespaceArray", id.String, func() any { return s.uris }},
		{id.Server_ServerArray, "ServerArray", id.String, func() any { return []string{s.opts.ApplicationURI} }},
		{id.Server_ServiceLevel, "ServiceLevel", id.Byte, func() any { return s.level }},
		{id.Server_ServerStatus, "ServerStatus", id.ServerStatusDataType, func() any { return ua.NewExtensionObject(s.status()) }},
		{id.Server_ServerStatus_StartTime, "StartTime", id.UtcTime, func() any { return s.started }},
		{id.Server_ServerStatus_CurrentTime, "CurrentTime", id.UtcTime, func() any { return s.opts.Now() }},
		{id.Server_ServerStatus_State, "State", id.ServerState, func() any { return int32(s.state) }},
		{id.Server_ServerStatus_BuildInfo, "BuildInfo", id.BuildInfo, func() any { return ua.NewExtensionObject(buildInfo()) }},
		{id.Server_ServerStatus_BuildInfo_ProductName, "ProductName", id.String, func() any { return buildInfo().ProductName }},
		{id.Server_ServerStatus_BuildInfo_ManufacturerName, "ManufacturerName", id.String, func() any { return buildInfo().ManufacturerName }},
		{id.Server_ServerStatus_SecondsTillShutdown, "SecondsTillShutdown", id.UInt32, func() any { return s.shutdown }},
		{id.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead, "MaxNodesPerRead", id.UInt32, func() any { return lim.MaxNodesPerRead }},
		{id.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite, "MaxNodesPerWrite", id.UInt32, func() any { return lim.MaxNodesPerWrite }},
		{id.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse, "MaxNodesPerBrowse", id.UInt32, func() any { return lim.MaxNodesPerBrowse }},
		{id.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall, "MaxMonitoredItemsPerCall", id.UInt32, func() any { return lim.MaxMonitoredItemsPerCall }},
		{id.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData, "MaxNodesPerHistoryReadData", id.UInt32, func() any { return lim.MaxNodesPerHistoryRead }},
		{id.Server_ServerCapabilities_MaxHistoryContinuationPoints, "MaxHistoryContinuationPoints", id.UInt16, func() any { return uint16(lim.MaxHistoryContinuationPoints) }},
		{id.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription, "MaxMonitoredItemsPerSubscription", id.UInt32, func() any { return uint32(lim.MaxMonitoredItemsPerSubscription) }},
	} {
		v := &Var{
			s: s, name: n.name, id: ua.NewNumericNodeID(0, n.id), read: n.read,
			dataType: ua.NewNumericNodeID(0, n.dataType), items: map[*item]struct{}{},
		}
		variant := ua.MustVariant(n.read())
		v.typ, v.array, v.key = variant.Type(), isArray(variant), v.id.String()
		s.nodes[v.key] = v
	}
}

// status is ServerStatus. The caller holds Server.mu.
func (s *Server) status() *ua.ServerStatusDataType {
	return &ua.ServerStatusDataType{
		StartTime: s.started, CurrentTime: s.opts.Now(), State: s.state,
		BuildInfo: buildInfo(), SecondsTillShutdown: s.shutdown, ShutdownReason: &ua.LocalizedText{},
	}
}

func buildInfo() *ua.BuildInfo {
	return &ua.BuildInfo{
		ProductURI: "urn:plantloom:demo", ManufacturerName: "Plantloom (demonstration)",
		ProductName: "Plantloom demo OPC UA server", BuildDate: time.Time{},
	}
}
