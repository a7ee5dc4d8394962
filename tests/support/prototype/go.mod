module prototype

go 1.22

require github.com/klauspost/reedsolomon v1.9.10

require github.com/klauspost/cpuid/v2 v2.0.2 // indirect
