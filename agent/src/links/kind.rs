//! What an interface is, by what the kernel says of it.

use std::path::Path;

/// `ARPHRD_*`, include/uapi/linux/if_arp.h.
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A network card.
    Physical,
    /// A network card that is a part of a bond or team: what it carries passes that, too.
    Slave,
    Bond,
    Loopback,
    /// The host's end of a pair whose other end is in another namespace.
    Workload,
    /// As a workload's, of a kind on which nothing is put: its packets may never pass the host's end.
    Netkit,
    /// An end of a pair that is wholly here.
    Pair,
    Bridge,
    /// Its packets are met again, wrapped, at a network card.
    Tunnel(String),
    /// Its packets are met at another interface, or at loopback.
    Stacked(String),
    /// What is not in our table, as the kernel calls it.
    Unknown(String),
}

/// What the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) name: String,
    /// `ARPHRD_*`.
    pub(super) hardware: u16,
    /// Of the driver; network cards have none.
    pub(super) kind: Option<String>,
    /// Of the interface that it is a part of.
    pub(super) master_kind: Option<String>,
    pub(super) has_far_peer: bool,
    pub(super) has_device: bool,
}

impl Traits {
    pub(super) fn classify(self) -> Kind {
        let is_ethernet = self.hardware == ETHERNET;
        match self.kind.as_deref() {
            None if self.hardware == LOOPBACK => Kind::Loopback,
            None if is_ethernet && (self.has_device || has_device(&self.name)) => {
                match self.master_kind.as_deref() {
                    Some("bond" | "team") => Kind::Slave,
                    _ => Kind::Physical,
                }
            }
            None => Kind::Unknown(format!("hardware type {}", self.hardware)),
            Some("veth") if self.has_far_peer => Kind::Workload,
            Some("netkit") if self.has_far_peer => Kind::Netkit,
            Some("veth" | "netkit") => Kind::Pair,
            Some("bond" | "team") => Kind::Bond,
            Some("bridge") => Kind::Bridge,
            Some(
                kind @ ("vxlan" | "geneve" | "gre" | "gretap" | "erspan" | "ip6gre" | "ip6gretap"
                | "ip6erspan" | "ipip" | "ip6tnl" | "sit" | "vti" | "vti6" | "wireguard" | "tun"
                | "xfrm"),
            ) => Kind::Tunnel(kind.to_owned()),
            Some(
                kind @ ("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap" | "macsec" | "vrf" | "dummy"
                | "ifb"),
            ) => Kind::Stacked(kind.to_owned()),
            Some(kind) => Kind::Unknown(kind.to_owned()),
        }
    }
}

/// Kernels before 5.14 do not say it by netlink. Of the namespace that /sys was mounted in.
fn has_device(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && Path::new("/sys/class/net").join(name).join("device").exists()
}

impl Kind {
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Physical => "physical".to_owned(),
            Self::Slave => "physical, part of a bond".to_owned(),
            Self::Bond => "bond".to_owned(),
            Self::Loopback => "loopback".to_owned(),
            Self::Workload => "veth of a workload".to_owned(),
            Self::Netkit => "netkit of a workload".to_owned(),
            Self::Pair => "pair, both ends here".to_owned(),
            Self::Bridge => "bridge".to_owned(),
            Self::Tunnel(kind) => format!("tunnel ({kind})"),
            Self::Stacked(kind) => format!("on another interface ({kind})"),
            Self::Unknown(kind) => format!("unknown ({kind})"),
        }
    }

    /// Where packets leave the node, each once.
    #[must_use]
    pub fn is_card(&self) -> bool {
        matches!(self, Self::Physical | Self::Bond)
    }

    /// Packets may pass that are met nowhere else, and nothing is put on it.
    #[must_use]
    pub fn is_uncovered(&self) -> bool {
        matches!(self, Self::Netkit | Self::Unknown(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let bare = Traits { name: "none-such".to_owned(), hardware: ETHERNET, ..Traits::default() };
        let of = |kind: &str| Traits { kind: Some(kind.to_owned()), ..bare.clone() };
        let card = Traits { has_device: true, ..bare.clone() };
        let slave = |kind: &str| Traits { master_kind: Some(kind.to_owned()), ..card.clone() };
        check(card.clone(), "physical");
        check(slave("bridge"), "physical");
        check(slave("bond"), "physical, part of a bond");
        check(slave("team"), "physical, part of a bond");
        check(of("bond"), "bond");
        check(of("bridge"), "bridge");
        check(Traits { hardware: LOOPBACK, ..bare.clone() }, "loopback");
        check(Traits { has_far_peer: true, ..of("veth") }, "veth of a workload");
        check(of("veth"), "pair, both ends here");
        check(Traits { has_far_peer: true, ..of("netkit") }, "netkit of a workload");
        check(of("netkit"), "pair, both ends here");
        check(Traits { has_far_peer: true, ..of("vxlan") }, "tunnel (vxlan)");
        check(Traits { hardware: 65534, ..of("wireguard") }, "tunnel (wireguard)");
        check(of("macvlan"), "on another interface (macvlan)");
        check(of("dummy"), "on another interface (dummy)");
        check(of("wwan"), "unknown (wwan)");
        check(bare.clone(), "unknown (hardware type 1)");
        check(Traits { hardware: 803, has_device: true, ..bare }, "unknown (hardware type 803)");
    }

    #[track_caller]
    fn check(traits: Traits, want: &str) {
        assert_eq!(traits.clone().classify().name(), want, "{traits:?}");
    }
}
