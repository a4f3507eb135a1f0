package view

import (
	"os"
	"os/exec"
	"path/filepath"

	"ratchet/internal/diskspace"
	"ratchet/internal/shim"
	"ratchet/study"
)

// Abilities are what this machine can do for studies, with a home in a folder:
// `ratchet doctor`. The first is without which no program runs.
func Abilities(home string) []shim.Ability {
	return append(shim.Abilities(), homeAbility(home), programAbility("python3", "for studies whose program is Python"), programAbility("nvidia-smi", "to see NVIDIA GPUs"))
}

// homeAbility tries whether the home can be written to, without making it.
func homeAbility(home string) shim.Ability {
	dir := home
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".ratchet-doctor-*")
	if err != nil {
		return shim.Ability{Name: "home", Has: false, Detail: err.Error()}
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	return shim.Ability{Name: "home", Has: true, Detail: home + free(dir)}
}

func free(dir string) string {
	n, ok := diskspace.Free(dir)
	if !ok {
		return ""
	}
	return ", " + study.Bytes(n).String() + " free"
}

func programAbility(name, what string) shim.Ability {
	path, err := exec.LookPath(name)
	if err != nil {
		return shim.Ability{Name: name, Has: false, Detail: "not found; " + what}
	}
	return shim.Ability{Name: name, Has: true, Detail: path}
}
