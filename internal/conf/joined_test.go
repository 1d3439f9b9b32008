package conf

import "testing"

func TestAddressesInFlowListsStayText(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"kafka: {brokers: [k1:9092, \"k2:9092\", 10.0.0.1:9092]}",
		"kafka:\n  brokers: [k1:9092, k2:9092, 10.0.0.1:9092]",
		"kafka:\n  brokers:\n    - k1:9092\n    - k2:9092\n    - 10.0.0.1:9092",
	} {
		var faults Faults
		var got []string
		Decode(Parse("a.yaml", []byte(src), &faults).Root.Field("kafka").Field("brokers"), &got, &faults)
		if faults.Len() > 0 || len(got) != 3 || got[0] != "k1:9092" || got[1] != "k2:9092" || got[2] != "10.0.0.1:9092" {
			t.Errorf("%s: %q, faults %v", src, got, faults.All())
		}
	}
}

func TestMapsInFlowListsStayMaps(t *testing.T) {
	t.Parallel()
	var faults Faults
	root := Parse("a.yaml", []byte("a: {b: [x: 1, {y: 2}]}"), &faults).Root
	items := root.Field("a").Field("b").Items()
	if faults.Len() > 0 || len(items) != 2 || items[0].Field("x").Text() != "1" || items[1].Field("y").Text() != "2" {
		t.Errorf("items %v, faults %v", items, faults.All())
	}
}
