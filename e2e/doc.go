// Package e2e tests Plantloom from end to end as its users run it: the built programs from bin/ against Apache Kafka,
// PostgreSQL, node-opcua, kcat, grpcurl and Chromium. Its tests have the build tag e2e; `make e2e` runs them.
//
// It never reaches into the programs: it starts them, reads what they serve, and compares the simulated ERP's books
// with the simulated plant's ledger of the truth. Nothing imports it.
package e2e
