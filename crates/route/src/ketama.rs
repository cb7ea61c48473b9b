//! The ring of libmemcached's `KETAMA_WEIGHTED` distribution, point for point (php-memcached's
//! `OPT_LIBKETAMA_COMPATIBLE`, pylibmc's `ketama` with weights).
//!
//! Each server has 160 points for its share of the weight, four from each MD5 of `host[:port]-k`; the port is left
//! out when it is 11211. A key goes to the first point at or after its hash. The sum is done in 32-bit floats, since
//! libmemcached does so and its rounding decides how many points there are.

use md5::{Digest, Md5};

/// Points of a server whose weight is the mean.
const POINTS_PER_SERVER: u32 = 160;

/// Points from one MD5.
const POINTS_PER_HASH: u32 = 4;

/// A ring over a list of servers.
#[derive(Clone, Debug)]
pub struct Ketama {
    /// Sorted by point, then by server.
    points: Vec<(u32, u16)>,
}

impl Ketama {
    /// A ring over `(host, port, weight)` in their order; weights are at least 1.
    pub fn new(servers: &[(String, u16, u32)]) -> Self {
        let total: u32 = servers.iter().map(|(_, _, weight)| weight).sum();
        let mut points = Vec::new();
        for (index, (host, port, weight)) in servers.iter().enumerate() {
            let share = *weight as f32 / total as f32;
            let count = servers.len() as f32;
            let groups =
                (share * (POINTS_PER_SERVER / POINTS_PER_HASH) as f32 * count + 1e-10_f32).floor() as u32;
            for group in 0..groups {
                let name = match port {
                    11211 => format!("{host}-{group}"),
                    _ => format!("{host}:{port}-{group}"),
                };
                let hash = Md5::digest(name.as_bytes());
                points.extend((0..POINTS_PER_HASH as usize).map(|part| (word(&hash, part), index as u16)));
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The index of the server of a key; zero for an empty ring.
    pub fn server(&self, key: &[u8]) -> usize {
        let hash = word(&Md5::digest(key), 0);
        let at = self.points.partition_point(|&(point, _)| point < hash);
        let (_, server) = self.points.get(at).or(self.points.first()).copied().unwrap_or_default();
        usize::from(server)
    }
}

/// The little-endian 32-bit word number `part` of an MD5.
fn word(hash: &[u8], part: usize) -> u32 {
    let bytes = hash.iter().skip(part * 4).take(4);
    bytes.rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows read off libmemcached 1.1.4: algorithm, servers, key, index.
    const ROWS: &str = include_str!("../tests/data/ketama-weighted.tsv");

    #[test]
    fn every_key_goes_where_libmemcached_puts_it() {
        let mut checked = 0;
        for row in ROWS.lines() {
            let fields: Vec<&str> = row.split('\t').collect();
            let servers: Vec<(String, u16, u32)> = fields[1]
                .split(',')
                .map(|server| {
                    let parts: Vec<&str> = server.split(':').collect();
                    let weight = parts.get(2).map_or(1, |weight| weight.parse().expect("a weight"));
                    (parts[0].to_owned(), parts[1].parse().expect("a port"), weight)
                })
                .collect();
            assert_eq!(Ketama::new(&servers).server(fields[2].as_bytes()).to_string(), fields[3], "{row}");
            checked += 1;
        }
        assert_eq!(checked, 120);
    }
}
