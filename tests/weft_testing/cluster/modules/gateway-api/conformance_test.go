// Package gatewayapi builds the Gateway API conformance suite, unmodified, as one test program.
package gatewayapi

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }
