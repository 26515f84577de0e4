//! What is in the maps that this process holds: others on the machine may have maps of the same name.

use std::fs;

use aya::maps::{Map, MapData, MapInfo};

/// The kernel cuts names of maps here.
const MAX_NAME_BYTES: usize = 15;

/// The values of the hash map of this name, which must be of this process.
#[track_caller]
pub fn values<const KEY: usize, const VALUE: usize>(name: &str) -> Vec<[u8; VALUE]> {
    let map = own().find(|info| info.name_as_str() == Some(cut(name)));
    let id = map.unwrap_or_else(|| panic!("this process has no map {name}")).id();
    let data = MapData::from_id(id).unwrap_or_else(|error| panic!("{name}: {error}"));
    let map: aya::maps::HashMap<_, [u8; KEY], [u8; VALUE]> =
        Map::LruHashMap(data).try_into().unwrap_or_else(|error| panic!("{name}: {error}"));
    let entries: Result<Vec<_>, _> = map.iter().collect();
    entries.unwrap_or_else(|error| panic!("{name}: {error}")).into_iter().map(|(_, value)| value).collect()
}

fn own() -> impl Iterator<Item = MapInfo> {
    let descriptors = fs::read_dir("/proc/self/fdinfo").expect("procfs is mounted");
    descriptors.filter_map(|entry| {
        let info = fs::read_to_string(entry.ok()?.path()).ok()?;
        let id = info.lines().find_map(|line| line.strip_prefix("map_id:"))?;
        MapInfo::from_id(id.trim().parse().ok()?).ok()
    })
}

fn cut(name: &str) -> &str {
    let end = (0..=MAX_NAME_BYTES.min(name.len())).rev().find(|it| name.is_char_boundary(*it));
    &name[..end.unwrap_or(0)]
}
