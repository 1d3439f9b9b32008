package kafka

// Murmur2 is the hash under test.
func Murmur2(b []byte) int32 { return int32(murmur2(b)) }
