//go:build tools

// What is built here is Tempo's own program: nothing of it is in this tree.
package tools

import _ "github.com/grafana/tempo/cmd/tempo"
