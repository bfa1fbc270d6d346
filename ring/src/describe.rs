//! Pictures of tables and plans, as plain text on one screen: for `CLUSTER RING`, for logs and for golden tests.
//!
//! The text depends on nothing but its subject and is plain ASCII, whatever a zone is called.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::fmt::Write;

use crate::{
    id::NodeId,
    plan::Plan,
    table::{Load, Placed, Share, Table},
};

/// How many cells the drawing of the ring has.
const CELLS: usize = 64;

/// How many characters a bar has; the fair share ends at [`BAR_FAIR`].
const BAR: u64 = 30;
const BAR_FAIR: u64 = 20;

/// How many characters of a zone's name are shown.
const ZONE: usize = 12;

/// How many routes of a plan are shown.
const ROUTES: usize = 20;

/// A picture of who should hold what.
///
/// One line a node: its letter in the drawing below, the slots it is first in, the copies it holds, and these copies
/// as a part of its fair share, in numbers and as a bar whose mark `|` is the fair share itself.
pub fn table(table: &Table) -> String {
    let mut text = format!(
        "{}, {}, {} of each, {} vnodes per weight, loads up to {} of fair\n",
        count(table.slots().len(), "slot"),
        count(table.nodes().len(), "node"),
        count(table.depth(), "copy"),
        table.settings().vnodes,
        percent(1000 + u64::from(table.settings().tolerance_permille)),
    );
    if table.depth() > 0 {
        nodes(&mut text, table);
        drawing(&mut text, table);
        peaks(&mut text, table);
        notes(&mut text, table);
    }
    text
}

/// A picture of what moves: how much against how much had to, and the busiest routes.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!(
        "{} to move, {}.{:03} at least",
        count(plan.moves().len(), "copy"),
        plan.ideal_milli() / 1000,
        plan.ideal_milli() % 1000
    );
    if let Some(ratio) = plan.moved_per_ideal_permille() {
        line(&mut text, format_args!(": {} times the ideal", thousandths(ratio)));
    } else {
        text.push('\n');
    }
    line(
        &mut text,
        format_args!("{} to release, {} to promote", count(plan.released(), "copy"), count(plan.promoted(), "owner")),
    );
    let mut routes: Vec<((Option<NodeId>, NodeId), usize)> =
        plan.routes().into_iter().map(|(route, slots)| (route, slots.len())).collect();
    routes.sort_by_key(|&(route, slots)| (core::cmp::Reverse(slots), route));
    for ((from, to), slots) in routes.iter().take(ROUTES) {
        match from {
            Some(from) => line(&mut text, format_args!("  {} -> {} {slots:>6}", from.short(), to.short())),
            None => line(&mut text, format_args!("  nobody   -> {} {slots:>6}", to.short())),
        }
    }
    if let Some(rest) = routes.get(ROUTES..).filter(|rest| !rest.is_empty()) {
        let copies = rest.iter().map(|(_, slots)| slots).sum();
        line(&mut text, format_args!("  and {} more with {}", count(rest.len(), "route"), count(copies, "copy")));
    }
    text
}

fn nodes(text: &mut String, table: &Table) {
    line(text, format_args!("  node      {:<ZONE$} weight   first  copies     fair  of fair", "zone"));
    let slots = table.slots().len();
    for (at, (node, load, share)) in table.loads().enumerate() {
        let Placed { id, zone, weight } = node;
        let (zone, id, fair) = (plain(zone), id.short(), share.copies_milli(slots));
        let part = ratio(load.copies, fair);
        let (letter, bar) = (letter(at), bar(part));
        let Load { first, copies } = load;
        let (whole, tenth) = (fair / 1000, fair / 100 % 10);
        line(
            text,
            format_args!(
                "{letter} {id}  {zone:<ZONE$} {weight:>6} {first:>7} {copies:>7} {whole:>6}.{tenth} {:>8}  {bar}",
                percent(part)
            ),
        );
    }
}

/// Who is first along the ring: in each stretch, the node that is first in most of its slots.
fn drawing(text: &mut String, table: &Table) {
    let slots: Vec<_> = table.slots().collect();
    let leader = |stretch: &[crate::slot::Slot]| {
        let mut firsts: BTreeMap<NodeId, usize> = BTreeMap::new();
        stretch.iter().filter_map(|&slot| table.first(slot)).for_each(|first| *firsts.entry(first).or_default() += 1);
        let most = firsts.into_iter().max_by_key(|&(node, slots)| (slots, core::cmp::Reverse(node)));
        most.and_then(|(first, _)| table.nodes().iter().position(|node| node.id == first)).map_or('-', letter)
    };
    let cells: String = slots.chunks(slots.len().div_ceil(CELLS)).map(leader).collect();
    line(text, format_args!("first along the ring  [{cells}]"));
}

fn peaks(text: &mut String, table: &Table) {
    let slots = table.slots().len();
    let first = peak(table, |load, share| ratio(load.first, share.first_milli(slots)));
    let copies = peak(table, |load, share| ratio(load.copies, share.copies_milli(slots)));
    line(text, format_args!("max/mean  first {}, copies {}", thousandths(first), thousandths(copies)));
}

/// The largest load as a part of what is fair, in thousandths.
fn peak(table: &Table, part: impl Fn(Load, Share) -> u64) -> u64 {
    table.loads().map(|(_, load, share)| part(load, share)).max().unwrap_or(0)
}

/// What an operator may wonder about.
fn notes(text: &mut String, table: &Table) {
    let (zones, depth, slots) = (table.zones(), table.depth(), table.slots().len());
    if depth < table.settings().replicas {
        line(
            text,
            format_args!("note: {} asked for, but there are fewer nodes", count(table.settings().replicas, "copy")),
        );
    }
    if zones > 1 {
        let apart = table.slots().filter(|&slot| table.zones_of(slot) == depth).count();
        line(text, format_args!("zones: {zones}, all copies in different zones in {apart} of {slots} slots"));
    }
    let total: u64 = table.nodes().iter().map(|node| u64::from(node.weight)).sum();
    let by_weight = |node: &Placed| slots as u64 * 1000 * depth as u64 * u64::from(node.weight) / total;
    let off = |(node, _, share): &(&Placed, Load, Share)| share.copies_milli(slots).abs_diff(by_weight(node)) > 1;
    if table.loads().any(|node| off(&node)) {
        line(text, format_args!("note: a node or zone holds one copy of a slot at most, so weights yield"));
    }
    let cap = 1000 + u64::from(table.settings().tolerance_permille);
    let above = |(_, load, share): &(&Placed, Load, Share)| ratio(load.copies, share.copies_milli(slots)) > cap;
    let above = table.loads().filter(above).count();
    if above > 0 {
        let why = if zones > 1 { "balance yields to zones" } else { "the ring has too few slots" };
        line(text, format_args!("note: {} above {} of fair, {why}", count(above, "node"), percent(cap)));
    }
}

fn line(text: &mut String, line: core::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes whatever is written to it");
}

/// A load as a part of what is fair, in thousandths.
fn ratio(load: u32, fair_milli: u64) -> u64 {
    (u64::from(load) * 1_000_000).checked_div(fair_milli).unwrap_or(0)
}

fn percent(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

fn thousandths(permille: u64) -> String {
    format!("{}.{:03}", permille / 1000, permille % 1000)
}

fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// The letter of the node at this place; `*` for those beyond the alphabet.
fn letter(at: usize) -> char {
    (b'A'..=b'Z').chain(b'a'..=b'z').nth(at).map_or('*', char::from)
}

/// `#` up to the part, in steps of a twentieth of what is fair, and `|` where the fair share ends.
fn bar(permille: u64) -> String {
    let filled = (permille * BAR_FAIR + 500) / 1000;
    let cell = |at| if at < filled { '#' } else { '.' };
    let cells = (0..BAR).map(cell).collect::<String>();
    let (within, beyond) = cells.split_at(BAR_FAIR as usize);
    format!("{within}|{beyond}")
}

/// A zone's name with everything but plain letters escaped, cut where it would not fit.
fn plain(zone: &str) -> String {
    let escaped: String = zone.chars().take(ZONE + 1).flat_map(char::escape_default).collect();
    if escaped.len() > ZONE { format!("{}~", &escaped[..ZONE - 1]) } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Settings;
    use alloc::string::ToString;

    fn nodes(nodes: &[(&str, u32)]) -> Vec<Placed> {
        let node = |(seed, &(zone, weight)): (u64, &(&str, u32))| Placed {
            id: NodeId::from_seed(seed),
            zone: zone.to_string(),
            weight,
        };
        (1..).zip(nodes).map(node).collect()
    }

    /// Compares line by line, so that a difference shows where it is.
    fn assert_text(text: &str, lines: &[&str]) {
        assert_eq!(text.lines().collect::<Vec<_>>(), lines, "\n{text}");
        assert!(text.ends_with('\n'));
    }

    fn computed(some: &[(&str, u32)], replicas: usize) -> Table {
        Table::compute(&nodes(some), &Settings::new(replicas))
    }

    #[test]
    fn three_nodes() {
        assert_text(
            &table(&computed(&[("default", 1); 3], 2)),
            &[
                "16384 slots, 3 nodes, 2 copies of each, 512 vnodes per weight, loads up to 105.0 % of fair",
                "  node      zone         weight   first  copies     fair  of fair",
                "A 7fd5a2c1  default           1    5168   10411  10922.6   95.3 %  ###################.|..........",
                "B bb6f4149  default           1    5734   11312  10922.6  103.5 %  ####################|#.........",
                "C bdc94bce  default           1    5482   11045  10922.6  101.1 %  ####################|..........",
                "first along the ring  [CACBBBBCABBABBBBACBBBCCCCABABBACBABCCABCBCBCCBCCCCABCBAAACABABCA]",
                "max/mean  first 1.049, copies 1.035",
            ],
        );
    }

    #[test]
    fn zones_and_weights() {
        assert_text(
            &table(&computed(&[("a", 1), ("a", 1), ("b", 2), ("b", 1), ("c", 1)], 3)),
            &[
                "16384 slots, 5 nodes, 3 copies of each, 512 vnodes per weight, loads up to 105.0 % of fair",
                "  node      zone         weight   first  copies     fair  of fair",
                "A 7fd5a2c1  a                 1    2668    8075   8192.0   98.5 %  ####################|..........",
                "B 8c351d2b  b                 1    2848    5586   5461.3  102.2 %  ####################|..........",
                "C bb6f4149  b                 2    5581   10798  10922.6   98.8 %  ####################|..........",
                "D bdc94bce  a                 1    2595    8309   8192.0  101.4 %  ####################|..........",
                "E bece7561  c                 1    2692   16384  16384.0  100.0 %  ####################|..........",
                "first along the ring  [CBCECCCCCCCACCCCCCCCCCCCCACBCCCCCCDCCCCCCCCECCBECCCCCAACCCCCCDDE]",
                "max/mean  first 1.042, copies 1.022",
                "zones: 3, all copies in different zones in 16384 of 16384 slots",
                "note: a node or zone holds one copy of a slot at most, so weights yield",
            ],
        );
    }

    #[test]
    fn no_nodes_and_too_few() {
        assert_text(
            &table(&computed(&[], 2)),
            &["16384 slots, 0 nodes, 0 copies of each, 512 vnodes per weight, loads up to 105.0 % of fair"],
        );
        assert_text(
            &table(&computed(&[("default", 1)], 2)),
            &[
                "16384 slots, 1 node, 1 copy of each, 512 vnodes per weight, loads up to 105.0 % of fair",
                "  node      zone         weight   first  copies     fair  of fair",
                "A bdc94bce  default           1   16384   16384  16384.0  100.0 %  ####################|..........",
                "first along the ring  [AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA]",
                "max/mean  first 1.000, copies 1.000",
                "note: 2 copies asked for, but there are fewer nodes",
            ],
        );
    }

    #[test]
    fn a_zone_may_be_called_anything() {
        let text = table(&computed(&[("\u{1b}[31m\n", 1), ("raum für alles mögliche", 1)], 1));
        assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{text}");
        assert_eq!(plain("twelve chars"), "twelve chars");
        assert_eq!(plain("thirteen char"), "thirteen ch~");
    }

    #[test]
    fn a_join() {
        let (old, new) = (computed(&[("default", 1); 3], 2), computed(&[("default", 1); 4], 2));
        assert_text(
            &plan(&Plan::between(&old, &new)),
            &[
                "8413 copies to move, 8192.000 at least: 1.026 times the ideal",
                "8413 copies to release, 41 owners to promote",
                "  bb6f4149 -> 8c351d2b   2940",
                "  bdc94bce -> 8c351d2b   2849",
                "  7fd5a2c1 -> 8c351d2b   2624",
            ],
        );
    }

    #[test]
    fn many_routes_fit_one_screen() {
        let (old, new) = (computed(&[("default", 1); 20], 2), computed(&[("default", 1); 22], 2));
        let text = plan(&Plan::between(&old, &new));
        assert_eq!(text.lines().count(), 2 + ROUTES + 1, "{text}");
    }

    #[test]
    fn a_table_of_more_nodes_than_letters() {
        let text = table(&computed(&[("default", 1); 60], 2));
        assert!(text.lines().count() < 70 && text.lines().all(|line| line.len() < 100), "{text}");
    }
}
