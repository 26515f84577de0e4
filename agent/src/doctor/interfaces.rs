//! Interfaces by kind, and what the agent puts on each.

use std::{fs, io, path::Path};

use super::{
    facts::{Facts, TCX},
    verdict::{Check, State, Verdict},
};
use crate::config::settings::{Settings, XdpMode};

/// What sysfs says of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// ARPHRD type, a number.
    pub kind: String,
    pub uevent: String,
    pub ifindex: String,
    /// Differs from `ifindex` when another interface is behind or opposite.
    pub iflink: String,
    /// Names of its folder's entries.
    pub entries: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Physical,
    /// Physical, and part of a bond.
    Slave,
    Loopback,
    Veth,
    Bridge,
    Bond,
    /// vlan, macvlan, tunnels, dummies: met elsewhere, or not at all.
    Virtual,
    /// No Ethernet: point-to-point, radio, what is not known.
    Other,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Physical => "physical",
            Self::Slave => "physical, part of a bond",
            Self::Loopback => "loopback",
            Self::Veth => "veth",
            Self::Bridge => "bridge",
            Self::Bond => "bond",
            Self::Virtual => "virtual",
            Self::Other => "of unknown kind",
        }
    }
}

const ETHERNET: &str = "1";
const LOOPBACK: &str = "772";

impl Interface {
    /// Fields that cannot be read stay empty: an interface may vanish in between.
    fn read(folder: &Path) -> Self {
        let text =
            |name| fs::read_to_string(folder.join(name)).map(|it| it.trim().to_owned()).unwrap_or_default();
        Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            kind: text("type"),
            uevent: text("uevent"),
            ifindex: text("ifindex"),
            iflink: text("iflink"),
            entries: names(folder).unwrap_or_default(),
        }
    }

    /// Those of this network namespace.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
        let folder = Path::new("/sys/class/net");
        // `bonding_masters` is a file beside them.
        let folders = names(folder)?.into_iter().map(|it| folder.join(it)).filter(|it| it.is_dir());
        Ok(folders.map(|it| Self::read(&it)).collect())
    }

    /// Whether the agent puts its packet program there unasked.
    ///
    /// On the cards of a bond or team rather than on the bond: there every packet passes once, native XDP
    /// runs in the card's own driver, and a program on the bond would keep cards from being added to it
    /// that have one of their own (`bond_enslave`).
    pub(crate) fn is_physical(&self) -> bool {
        matches!(self.kind(), Kind::Physical | Kind::Slave)
    }

    pub(crate) fn kind(&self) -> Kind {
        let has = |name: &str| self.entries.iter().any(|it| it == name);
        let devtype = self.uevent.lines().find_map(|it| it.strip_prefix("DEVTYPE="));
        match (self.kind.as_str(), devtype) {
            (LOOPBACK, _) => Kind::Loopback,
            _ if has("bridge") => Kind::Bridge,
            _ if has("bonding") => Kind::Bond,
            (ETHERNET, _) if has("device") && has("bonding_slave") => Kind::Slave,
            (ETHERNET, _) if has("device") => Kind::Physical,
            // Of those without a device and a name for their type only veth has another opposite.
            (ETHERNET, None) if self.iflink != self.ifindex && !has("tun_flags") => Kind::Veth,
            (ETHERNET, _) => Kind::Virtual,
            _ => Kind::Other,
        }
    }
}

/// One for each interface, and for each that is asked for and not there.
pub(super) fn checks(facts: &Facts, interfaces: &[Interface], settings: &Settings) -> Vec<Check> {
    let absent = settings.interfaces.iter().filter(|name| !interfaces.iter().any(|it| it.name == **name));
    let absent = absent.map(|name| {
        let mut verdict = Verdict::new();
        let names: Vec<_> = interfaces.iter().map(|it| it.name.as_str()).collect();
        let remedy = format!("name one of {} with --interface", names.join(", "));
        verdict.against(State::Missing, "there is no such interface here", &remedy);
        verdict.check(format!("interface {name}"), "")
    });
    interfaces.iter().map(|it| check(facts, it, settings)).chain(absent).collect()
}

fn check(facts: &Facts, interface: &Interface, settings: &Settings) -> Check {
    let mut verdict = Verdict::new();
    let kind = interface.kind();
    let named = settings.interfaces.contains(&interface.name);
    let chosen = named || settings.interfaces.is_empty() && interface.is_physical();
    let what = match (settings.xdp, chosen) {
        (XdpMode::Off, _) => "nothing, the setting xdp is off",
        (XdpMode::Native, true) => "native XDP",
        (XdpMode::Auto, true) if facts.since(TCX) => "native XDP, else TCX",
        (XdpMode::Auto, true) => "native XDP, else nothing",
        (XdpMode::Auto | XdpMode::Native, false) => "nothing, its TCP is known by socket",
    };
    if kind == Kind::Other && !named && settings.xdp != XdpMode::Off {
        let remedy = format!("if its packets matter: --interface {}", interface.name);
        verdict.against(State::Degraded, format!("{}: nothing is attached", kind.name()), &remedy);
    }
    verdict.check(format!("interface {}", interface.name), format!("{}: {what}", kind.name()))
}

/// Sorted, so that reports are the same each time.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.flatten();
    let mut names: Vec<_> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, uevent: &str, iflink: &str, entries: &[&str], want: Kind) {
        let interface = Interface {
            name: "x".into(),
            kind: kind.into(),
            uevent: uevent.into(),
            ifindex: "4".into(),
            iflink: iflink.into(),
            entries: entries.iter().map(|&it| it.into()).collect(),
        };
        assert_eq!(interface.kind(), want, "{interface:?}");
    }

    #[test]
    fn kinds() {
        check("1", "INTERFACE=eth0\nIFINDEX=4", "4", &["device", "mtu"], Kind::Physical);
        check("1", "DEVTYPE=wlan", "4", &["device"], Kind::Physical);
        check("1", "", "4", &["bonding_slave", "device", "master"], Kind::Slave);
        check("772", "", "4", &[], Kind::Loopback);
        check("1", "INTERFACE=cali1", "2", &["mtu"], Kind::Veth);
        check("1", "", "2", &["master"], Kind::Veth);
        check("1", "DEVTYPE=bridge", "4", &["bridge"], Kind::Bridge);
        check("1", "DEVTYPE=bond", "4", &["bonding"], Kind::Bond);
        check("1", "DEVTYPE=vlan", "2", &[], Kind::Virtual);
        check("1", "INTERFACE=ifb0", "4", &[], Kind::Virtual);
        check("1", "", "4", &["tun_flags"], Kind::Virtual);
        check("65534", "DEVTYPE=wireguard", "4", &[], Kind::Other);
        check("", "", "", &[], Kind::Other);
    }

    #[test]
    fn the_cards_of_a_bond_are_looked_at_and_the_bond_is_not() {
        for (entries, want) in [
            (&["device"][..], true),
            (&["bonding_slave", "device", "master"], true),
            (&["device", "master"], true),
            (&["bonding"], false),
            (&[], false),
        ] {
            let entries = entries.iter().map(|&it| it.into()).collect();
            let interface = Interface { kind: ETHERNET.into(), entries, ..Interface::default() };
            assert_eq!(interface.is_physical(), want, "{interface:?}");
        }
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let all = Interface::all().unwrap();
        assert!(all.iter().any(|it| it.name == "lo" && it.kind() == Kind::Loopback), "{all:?}");
    }
}
