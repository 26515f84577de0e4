//! The kernel's own counters of one network namespace: a second opinion on what we count.

use std::collections::BTreeMap;

use crate::NetNs;

/// Counters by `Group.Name`, as in `Tcp.RetransSegs` or `TcpExt.TCPTimeouts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snmp(BTreeMap<String, i64>);

impl Snmp {
    #[track_caller]
    pub fn of(namespace: &NetNs) -> Self {
        Self::parse(&namespace.exec("cat", ["/proc/net/snmp", "/proc/net/netstat"]))
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> i64 {
        *self.0.get(name).unwrap_or_else(|| panic!("this kernel does not count {name}"))
    }

    /// What changed from `before` to now; what did not is left out.
    pub fn since(&self, before: &Self) -> BTreeMap<String, i64> {
        let change = |(name, now): (&String, &i64)| {
            let change = now - before.0.get(name).copied().unwrap_or(0);
            (change != 0).then(|| (name.clone(), change))
        };
        self.0.iter().filter_map(change).collect()
    }

    /// Two lines for each group: names, then values.
    #[track_caller]
    fn parse(text: &str) -> Self {
        let mut counters = BTreeMap::new();
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (group, names) = names.split_once(':').expect("a group has a name");
            let (same, values) = values.split_once(':').expect("a group has a name");
            assert_eq!(group, same, "names and values alternate");
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                let value = value.parse().expect("a counter is a number");
                counters.insert(format!("{group}.{name}"), value);
            }
        }
        Self(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_compares() {
        let before = "Tcp: MaxConn ActiveOpens RetransSegs\nTcp: -1 7 0\n";
        let after = "Tcp: MaxConn ActiveOpens RetransSegs\nTcp: -1 9 0\nTcpExt: TCPTimeouts\nTcpExt: 3\n";
        let after = Snmp::parse(after);
        assert_eq!(after.get("Tcp.MaxConn"), -1);
        let change = after.since(&Snmp::parse(before));
        let want = [("Tcp.ActiveOpens", 2), ("TcpExt.TCPTimeouts", 3)];
        assert_eq!(change, want.map(|(name, change)| (name.to_owned(), change)).into());
    }
}
