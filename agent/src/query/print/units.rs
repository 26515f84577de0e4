//! Numbers with their units, short enough for a cell.

pub(super) const UNKNOWN: &str = "-";

pub(super) fn or_unknown<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), text)
}

/// `1.2 ms`.
pub(super) fn duration(seconds: f64) -> String {
    let steps = [
        (1e-6, 1e-9, "ns"),
        (1e-3, 1e-6, "µs"),
        (1.0, 1e-3, "ms"),
        (120.0, 1.0, "s"),
        (7200.0, 60.0, "min"),
        (172_800.0, 3600.0, "h"),
    ];
    let fitting = steps.into_iter().find(|(below, unit, _)| short(seconds / unit) * unit < *below);
    let (_, unit, name) = fitting.unwrap_or((0.0, 86_400.0, "d"));
    format!("{} {name}", decimals(seconds / unit))
}

/// How long before `now` something was; clocks may disagree, so never negative.
pub(super) fn age(now_ns: u64, then_ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a cell shows two digits")]
    let seconds = now_ns.saturating_sub(then_ns) as f64 / 1e9;
    format!("{} ago", duration(seconds))
}

/// `34 KiB`.
pub(super) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a cell shows two digits")]
    let mut scaled = bytes as f64;
    let mut names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].into_iter();
    let mut name = names.next().unwrap_or_default();
    for larger in names {
        if short(scaled) < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        name = larger;
    }
    format!("{} {name}", decimals(scaled))
}

/// `10.1.0.1:80`. An IPv6 address needs its brackets before a port.
pub(super) fn socket(address: &str, port: u32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// `1.2 %`.
pub(super) fn percent(ratio: f64) -> String {
    format!("{} %", decimals(ratio * 100.0))
}

/// `34 KiB/s`.
pub(super) fn byte_rate(per_second: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cell shows two digits")]
    let bytes = per_second.round() as u64;
    format!("{}/s", self::bytes(bytes))
}

/// `120 /s`.
pub(super) fn rate(per_second: f64) -> String {
    format!("{} /s", decimals(per_second))
}

/// One decimal below ten, none above: two digits that matter.
fn decimals(number: f64) -> String {
    let number = short(number);
    if number < 10.0 && number.fract() != 0.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

fn short(number: f64) -> f64 {
    let rounded = (number * 10.0).round() / 10.0;
    if rounded < 10.0 { rounded } else { number.round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let want = "0 ns, 7 ns, 1 µs, 1.2 ms, 45 ms, 1 s, 1.5 s, 119 s, 2 min, 3 h, 2 d";
        let seconds = [0.0, 7e-9, 999.9e-9, 0.0012, 0.045, 0.9999, 1.5, 119.0, 120.0, 10_800.0, 172_800.0];
        assert_eq!(seconds.map(duration).join(", "), want);
    }

    #[test]
    fn sizes() {
        let want = "0 B, 1023 B, 1 KiB, 34 KiB, 1 MiB, 1.5 GiB, 16384 PiB";
        let sizes = [0, 1023, 1024, 34_816, (1 << 20) - 1, 3 << 29, u64::MAX];
        assert_eq!(sizes.map(bytes).join(", "), want);
    }

    #[test]
    fn sockets() {
        assert_eq!(socket("10.1.0.1", 80), "10.1.0.1:80");
        assert_eq!(socket("::1", 80), "[::1]:80");
    }

    #[test]
    fn ratios_rates_and_ages() {
        assert_eq!(percent(0.0123), "1.2 %");
        assert_eq!(rate(1200.0), "1200 /s");
        assert_eq!(byte_rate(34_816.4), "34 KiB/s");
        assert_eq!(age(3_000_000_000, 1_500_000_000), "1.5 s ago");
        assert_eq!(age(1, 2), "0 ns ago");
    }
}
