// Makes a folder of the prototype's, with the library that the prototype used: beside each file its parity files and its .md.
//
//	prototype K M FILE...
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/reedsolomon"
)

type description struct {
	Size         int64
	Hashes       []string
	DataShards   int
	ParityShards int
}

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: prototype K M FILE..."))
	}
	k, err := strconv.Atoi(os.Args[1])
	fail(err)
	m, err := strconv.Atoi(os.Args[2])
	fail(err)
	for _, name := range os.Args[3:] {
		fail(protect(name, k, m))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A run of the file, padded with zeros to the length of all runs.
func run(file *os.File, size, shard int64, index int) io.Reader {
	start := min(int64(index)*shard, size)
	end := min(start+shard, size)
	return io.MultiReader(io.NewSectionReader(file, start, end-start), io.LimitReader(zeros{}, shard-(end-start)))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func protect(name string, k, m int) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	size := stat.Size()
	shard := (size + int64(k) - 1) / int64(k)
	about := description{Size: size, DataShards: k, ParityShards: m}
	sums := make([]io.Writer, m)
	hashes := make([]func() []byte, 0, k+m)
	data := make([]io.Reader, k)
	for i := range data {
		hash := sha256.New()
		hashes = append(hashes, func() []byte { return hash.Sum(nil) })
		data[i] = io.TeeReader(run(file, size, shard, i), hash)
	}
	for i := range sums {
		parity, err := os.OpenFile(fmt.Sprintf("%s.parity.%d", name, i+1), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		defer parity.Close()
		hash := sha256.New()
		hashes = append(hashes, func() []byte { return hash.Sum(nil) })
		sums[i] = io.MultiWriter(parity, hash)
	}
	// The library has no code word without bytes.
	if size > 0 {
		coder, err := reedsolomon.NewStream(k, m)
		if err != nil {
			return err
		}
		if err := coder.Encode(data, sums); err != nil {
			return err
		}
	}
	for _, sum := range hashes {
		about.Hashes = append(about.Hashes, hex.EncodeToString(sum()))
	}
	text, err := json.Marshal(about)
	if err != nil {
		return err
	}
	return os.WriteFile(name+".md", append(text, '\n'), 0o644)
}
