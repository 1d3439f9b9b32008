// Package node holds the node programs of the end-to-end tests as embedded
// files: server.js, a third-party OPC UA server with one bottling line, and
// browse.js, which drives a headless browser. They run under node 18 or later
// with the packages that package-lock.json pins.
//
// It never runs them. Importer: e2e/servers.
package node

import "embed"

// Files holds package.json, package-lock.json and the programs.
//
//go:embed package.json package-lock.json *.js
var Files embed.FS
