// Command image builds the programs and puts them into a container image, without a daemon and
// without a registry. The same commit gives the same bytes. It is run in the repository's
// directory:
//
//	go run ./deploy/image -o bin/portolan-image.tar
//	docker load -i bin/portolan-image.tar
//	ctr -n k8s.io images import bin/portolan-image.tar
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// programs are what the image has in its root.
var programs = []string{"portolan", "portolan-agent", "portolan-controlplane"}

// user is nobody's number. The agent's pod overrides it: capabilities are root's.
const user = "65532:65532"

func main() {
	output := flag.String("o", "bin/portolan-image.tar", "file to write")
	name := flag.String("t", "", "name and tag (default: ghcr.io/portolan-net/portolan:VERSION)")
	architecture := flag.String("arch", "amd64", "architecture, as Go names it")
	flag.Parse()
	if err := build(*output, *name, *architecture); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func build(output, name, architecture string) error {
	version, created, err := origin()
	if err != nil {
		return err
	}
	if name == "" {
		name = "ghcr.io/portolan-net/portolan:" + strings.TrimPrefix(version, "v")
	}
	dir, err := os.MkdirTemp("", "portolan-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	command := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace",
		"-ldflags", "-s -w -X github.com/portolan-net/portolan/cmd/internal/version.release="+version, "-o", dir+"/", "./cmd/...")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("building the programs: %w", err)
	}
	layer, err := rootOf(dir, created)
	if err != nil {
		return err
	}
	image, err := archive(layer, name, version, architecture, created)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(output, image, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %s, %d MB, sha256:%s\n", output, name, len(image)>>20, digest(image))
	return nil
}

// origin returns what is built, and when that was committed; SOURCE_DATE_EPOCH comes before
// (reproducible-builds.org).
func origin() (version string, created time.Time, err error) {
	describe, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "", created, fmt.Errorf("asking git for the version: %w", err)
	}
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		out, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return "", created, fmt.Errorf("asking git for the time of the commit: %w", err)
		}
		seconds = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return "", created, fmt.Errorf("SOURCE_DATE_EPOCH %q: expected seconds since 1970", seconds)
	}
	return strings.TrimSpace(string(describe)), time.Unix(n, 0).UTC(), nil
}

// rootOf returns the layer: the programs in the root, as everybody's.
func rootOf(dir string, created time.Time) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range programs {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if err := add(w, name, 0o755, content, created); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return layer.Bytes(), err
}

func add(w *tar.Writer, name string, mode int64, content []byte, created time.Time) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: created, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(content))
	return err
}

// archive returns what docker load and ctr images import read (Docker image specification
// v1.2): the layer, the image's configuration, and which belongs to which.
func archive(layer []byte, name, version, architecture string, created time.Time) ([]byte, error) {
	config, err := json.Marshal(map[string]any{
		"architecture": architecture, "os": "linux", "created": created.Format(time.RFC3339),
		"config": map[string]any{
			"User": user, "Entrypoint": []string{"/portolan"},
			"Labels": map[string]string{
				"org.opencontainers.image.title": "portolan", "org.opencontainers.image.version": version,
				"org.opencontainers.image.source":   "https://github.com/portolan-net/portolan",
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
		"history": []map[string]string{{"created": created.Format(time.RFC3339), "created_by": "portolan deploy/image"}},
	})
	if err != nil {
		return nil, err
	}
	configName, layerName := digest(config)+".json", digest(layer)+"/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{name}, "Layers": []string{layerName}}})
	if err != nil {
		return nil, err
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	for _, file := range []struct {
		name    string
		content []byte
	}{{configName, config}, {layerName, layer}, {"manifest.json", manifest}} {
		if err := add(w, file.name, 0o644, file.content, created); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return image.Bytes(), err
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
