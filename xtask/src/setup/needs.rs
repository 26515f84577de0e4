//! The table of needs: how each is recognized, and how it is got.

use std::{path::Path, process::Command};

use clap::ValueEnum;

use super::{
    apt,
    tools::{self, Tool},
};
use crate::{compiler, sh};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Compiling both halves.
    Build,
    /// Formatting, clippy, dependency rules, manifests.
    Lint,
    /// The shop of the demo.
    Demo,
    /// Programs that the kernel and system tests watch or use.
    Test,
    /// Compiling libFuzzer.
    Fuzz,
}

impl Group {
    pub(crate) const ALL: &[Self] = &[Self::Build, Self::Lint, Self::Demo, Self::Test, Self::Fuzz];
    pub(crate) const FOR_CI: &[Self] = &[Self::Build, Self::Lint, Self::Test];
}

pub(super) struct Need {
    pub(super) groups: &'static [Group],
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    found: Found,
    pub(super) get: Get,
}

enum Found {
    /// All of these are on PATH.
    Programs(&'static [&'static str]),
    /// All of these are there.
    Files(&'static [&'static str]),
    By(fn() -> bool),
}

pub(super) enum Get {
    Apt(&'static [&'static str]),
    /// Debian's packages, else rustup's nightly.
    Compiler(&'static [&'static str]),
    /// Debian's package, if it is new enough.
    Go(&'static [&'static str]),
    Tool(&'static Tool),
    /// A component of the default rustup toolchain.
    Component(&'static str),
}

pub(super) const NEEDS: &[Need] = &[
    Need {
        groups: &[Group::Build],
        name: "BPF compiler",
        why: "a rustc with the source of `core`, for the kernel half",
        found: Found::By(|| compiler::find().is_some()),
        get: Get::Compiler(&["rustc-web", "rust-web-src"]),
    },
    Need {
        groups: &[Group::Build],
        name: "LLVM 22",
        why: "bpf-linker is built against it and loads it",
        found: Found::Files(&[
            "/usr/lib/llvm-22/bin/llvm-config",
            "/usr/lib/llvm-22/lib/libPolly.a",
            "/usr/include/zlib.h",
            "/usr/include/zstd.h",
            "/usr/include/libxml2/libxml/parser.h",
        ]),
        get: Get::Apt(&["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev", "libxml2-dev"]),
    },
    Need {
        groups: &[Group::Build],
        name: tools::BPF_LINKER.name,
        why: "links the kernel half",
        found: Found::By(|| tools::bpf_linker().is_ok()),
        get: Get::Tool(&tools::BPF_LINKER),
    },
    Need {
        groups: &[Group::Lint],
        name: "rustfmt",
        why: "the form of the code",
        found: Found::Programs(&["cargo-fmt"]),
        get: Get::Component("rustfmt"),
    },
    Need {
        groups: &[Group::Lint],
        name: "clippy",
        why: "the habits of the code",
        found: Found::Programs(&["cargo-clippy"]),
        get: Get::Component("clippy"),
    },
    Need {
        groups: &[Group::Lint],
        name: tools::CARGO_DENY.name,
        why: "licences, sources and bans of dependencies",
        found: Found::By(|| tools::cargo_deny().is_ok()),
        get: Get::Tool(&tools::CARGO_DENY),
    },
    Need {
        groups: &[Group::Demo, Group::Test],
        name: "iproute2",
        why: "network namespaces for the demo and the tests",
        found: Found::Programs(&["ip"]),
        get: Get::Apt(&["iproute2"]),
    },
    Need {
        groups: &[Group::Demo, Group::Test],
        name: "procps",
        why: "signals and settings of the kernel, for the demo and the tests",
        found: Found::Programs(&["kill", "sysctl"]),
        get: Get::Apt(&["procps"]),
    },
    Need {
        groups: &[Group::Demo, Group::Test],
        name: "nftables",
        why: "translated, refused and swallowed packets for the demo and the tests",
        found: Found::Programs(&["nft"]),
        get: Get::Apt(&["nftables"]),
    },
    Need {
        groups: &[Group::Demo, Group::Test],
        name: "redis-server",
        why: "a watched program that is not ours",
        found: Found::Programs(&["redis-server"]),
        get: Get::Apt(&["redis-server"]),
    },
    Need {
        groups: &[Group::Lint, Group::Demo, Group::Test],
        name: "Go",
        why: "builds the Go targets, the Collector and the checkers of manifests",
        found: Found::By(go_is_new_enough),
        get: Get::Go(&["golang-go"]),
    },
    Need {
        groups: &[Group::Demo, Group::Test],
        name: "python3",
        why: "a watched program of an interpreted language",
        found: Found::Programs(&["python3"]),
        get: Get::Apt(&["python3"]),
    },
    Need {
        groups: &[Group::Test],
        name: "C compiler",
        why: "builds the C targets",
        found: Found::Programs(&["cc"]),
        get: Get::Apt(&["gcc", "libc6-dev"]),
    },
    Need {
        groups: &[Group::Fuzz],
        name: "C++ compiler",
        why: "builds libFuzzer",
        found: Found::Programs(&["c++"]),
        get: Get::Apt(&["g++", "libc6-dev"]),
    },
];

impl Need {
    pub(super) fn is_met(&self) -> bool {
        match self.found {
            Found::Programs(programs) => programs.iter().all(|it| sh::which(it).is_some()),
            Found::Files(files) => files.iter().all(|it| Path::new(it).exists()),
            Found::By(found) => found(),
        }
    }
}

/// Not the one it might fetch for a module: the one that would have to fetch it.
fn go_is_new_enough() -> bool {
    let Some(go) = sh::which("go") else {
        return false;
    };
    let said = sh::output(Command::new(go).arg("version").env("GOTOOLCHAIN", "local"));
    said.is_ok_and(|it| apt::GO_SINCE <= go_version(&it))
}

/// `go version go1.26.8 linux/amd64` → (1, 26); what says no number is older than all.
fn go_version(said: &str) -> (u32, u32) {
    said.split_once(" go").map_or((0, 0), |(_, version)| apt::release(version))
}

impl Get {
    /// What is done where packages do not help.
    pub(super) fn fall_back(&self) -> anyhow::Result<()> {
        match self {
            Self::Compiler(_) if sh::which("rustup").is_some() => {
                sh::note(
                    "installing rustup's nightly, because this system has no packages of a BPF compiler",
                );
                let arguments = ["toolchain", "install", "nightly", "--profile", "minimal", "-c", "rust-src"];
                sh::run(Command::new("rustup").args(arguments))
            }
            Self::Tool(tool) => tool.install(),
            Self::Component(name) if sh::which("rustup").is_some() => {
                sh::run(Command::new("rustup").args(["component", "add", name]))
            }
            Self::Apt(_) | Self::Go(_) | Self::Compiler(_) | Self::Component(_) => Ok(()),
        }
    }

    /// What a person can do.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Apt(packages) => format!("install (Debian's names) {}", packages.join(" ")),
            Self::Compiler(packages) => format!(
                "install {}, or `rustup toolchain install nightly -c rust-src`; or name one in BPF_RUSTC",
                packages.join(" ")
            ),
            Self::Go(_) => {
                let (major, minor) = apt::GO_SINCE;
                format!("install Go {major}.{minor} or newer and have it on PATH")
            }
            Self::Tool(tool) => format!("`{}`", sh::shown(&tool.command(Path::new("CACHE")))),
            Self::Component(name) => format!("`rustup component add {name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_needs_and_every_need_advice() {
        for group in Group::ALL {
            assert!(NEEDS.iter().any(|it| it.groups.contains(group)), "{group:?}");
        }
        for need in NEEDS {
            assert!(!need.get.advice().is_empty(), "{}", need.name);
        }
    }

    #[test]
    fn reads_the_release_of_go() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64\n"), (1, 26));
        assert_eq!(go_version("go version go1.19.8 linux/amd64\n"), (1, 19));
        assert_eq!(go_version("go version devel go1.25-abc Tue linux/amd64"), (1, 25));
        assert_eq!(go_version("gccgo"), (0, 0));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_need_that_is_not_met() {
        let need = |found| Need { groups: &[Group::Test], name: "x", why: "y", found, get: Get::Apt(&[]) };
        assert!(!need(Found::Files(&["/", "/nothing/here"])).is_met());
        assert!(need(Found::Files(&["/"])).is_met());
        assert!(!need(Found::Programs(&["no-such-program-anywhere"])).is_met());
    }
}
