use super::{twin::Twin, *};
use alloc::{collections::BTreeSet, format, string::ToString, vec};
use proptest::prelude::*;

fn node(seed: u64, zone: &str, weight: u32) -> Placed {
    Placed { id: NodeId::from_seed(seed), zone: zone.to_string(), weight }
}

fn equal_nodes(count: u64) -> Vec<Placed> {
    (0..count).map(|seed| node(seed, "z", 1)).collect()
}

fn some_nodes(most: usize, zones: u8, weights: u32) -> impl Strategy<Value = Vec<Placed>> {
    prop::collection::btree_map(any::<u64>(), (0..zones, 1..=weights), 0..=most).prop_map(|nodes| {
        nodes.into_iter().map(|(seed, (zone, weight))| node(seed, &format!("zone-{zone}"), weight)).collect()
    })
}

fn small(replicas: usize) -> impl Strategy<Value = Settings> {
    (0..7u32, 1..9u32, prop::sample::select(vec![0, 50, 200, 1500])).prop_map(move |(log, vnodes, tolerance)| {
        Settings { slots: 1 << log, vnodes, tolerance_permille: tolerance, ..Settings::new(replicas) }
    })
}

fn rows(table: &Table) -> Vec<Vec<NodeId>> {
    table.slots().map(|slot| table.owners(slot).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_table_is_its_naive_twin(
        nodes in some_nodes(9, 5, 6), settings in (0usize..5).prop_flat_map(small)
    ) {
        let table = Table::compute(&nodes, &settings);
        prop_assert_eq!(rows(&table), Twin::compute(&nodes, &settings));
    }

    #[test]
    fn loads_are_what_the_rows_say(nodes in some_nodes(12, 3, 3), settings in (0usize..4).prop_flat_map(small)) {
        let table = Table::compute(&nodes, &settings);
        for placed in &nodes {
            let copies = table.slots().filter(|&slot| table.rank(slot, placed.id).is_some()).count() as u32;
            let first = table.slots().filter(|&slot| table.first(slot) == Some(placed.id)).count() as u32;
            prop_assert_eq!(table.load(placed.id), Some(Load { first, copies }));
        }
        prop_assert_eq!(table.load(NodeId::default()), None);
    }

    #[test]
    fn owners_are_distinct_and_in_as_many_zones_as_can_be(
        nodes in some_nodes(14, 4, 4), settings in (1usize..5).prop_flat_map(small)
    ) {
        let table = Table::compute(&nodes, &settings);
        prop_assert_eq!(table.depth(), settings.replicas.min(nodes.len()));
        for slot in table.slots() {
            prop_assert_eq!(table.owners(slot).collect::<BTreeSet<_>>().len(), table.depth());
            prop_assert_eq!(table.zones_of(slot), table.zones().min(table.depth()));
        }
    }

    #[test]
    fn the_succession_names_everyone_once_and_the_owners_first(
        nodes in some_nodes(9, 3, 3), settings in (0usize..4).prop_flat_map(small)
    ) {
        let table = Table::compute(&nodes, &settings);
        for slot in table.slots() {
            let succession: Vec<NodeId> = table.succession(slot).collect();
            prop_assert_eq!(&succession[..table.depth()], &table.owners(slot).collect::<Vec<_>>()[..]);
            prop_assert_eq!(succession.len(), nodes.len());
            prop_assert_eq!(succession.into_iter().collect::<BTreeSet<_>>().len(), nodes.len());
        }
    }

    #[test]
    fn the_order_of_members_and_members_who_left_make_no_difference(
        nodes in some_nodes(9, 3, 3), guest in any::<u64>(), settings in (1usize..4).prop_flat_map(small),
        shuffled in any::<prop::sample::Index>()
    ) {
        let table = Table::compute(&nodes, &settings);
        let mut others = nodes.clone();
        others.reverse();
        if !others.is_empty() { others.rotate_left(shuffled.index(nodes.len())); }
        prop_assert_eq!(&Table::compute(&others, &settings), &table);

        others.push(node(guest, "elsewhere", 2));
        let with_guest = Table::compute(&others, &settings);
        others.pop();
        if !nodes.iter().any(|placed| placed.id == NodeId::from_seed(guest)) {
            prop_assert_eq!(with_guest.nodes().len(), nodes.len() + 1);
        }
        prop_assert_eq!(&Table::compute(&others, &settings), &table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_full_ring_of_one_zone_stays_below_its_caps(nodes in some_nodes(20, 1, 1), replicas in 1usize..4) {
        let table = Table::compute(&nodes, &Settings::new(replicas));
        for (placed, load, share) in table.loads() {
            prop_assert!(u64::from(load.first) * 1000 * 1000 <= share.first_milli(SLOTS) * 1050 + 1050, "{placed:?}");
            prop_assert!(u64::from(load.copies) * 1000 * 1000 <= share.copies_milli(SLOTS) * 1050 + 1050, "{placed:?}");
        }
    }

    #[test]
    fn weights_are_met_from_above_and_from_below(nodes in some_nodes(20, 1, 8), replicas in 1usize..4) {
        prop_assume!(nodes.iter().any(|placed| placed.weight != nodes[0].weight));
        let table = Table::compute(&nodes, &Settings::new(replicas));
        for (placed, load, share) in table.loads() {
            let (copies, fair) = (u64::from(load.copies) * 1000 * 1000, share.copies_milli(SLOTS));
            prop_assert!((fair * 950..=fair * 1050 + 1050).contains(&copies), "{placed:?}: {load:?} of {fair}");
        }
    }
}

#[test]
fn no_nodes_own_nothing_and_one_owns_all() {
    let none = Table::compute(&[], &Settings::new(2));
    assert_eq!((none.depth(), none.zones(), none.nodes().len()), (0, 0, 0));
    assert!(none.slots().all(|slot| none.owners(slot).len() == 0 && none.first(slot).is_none()));

    let one = equal_nodes(1);
    let table = Table::compute(&one, &Settings::new(2));
    assert_eq!(table.load(one[0].id), Some(Load { first: 16384, copies: 16384 }));
}

#[test]
fn slots_beyond_a_small_ring_have_no_owners() {
    let table = Table::compute(&equal_nodes(3), &Settings { slots: 4, ..Settings::new(2) });
    assert_eq!(table.slots().len(), 4);
    assert_eq!(table.owners(Slot::of(b"foo")).len(), 0);
}

#[test]
fn a_lone_zone_holds_every_slot_and_balance_yields() {
    let nodes: Vec<Placed> =
        ["a", "a", "b", "b", "c"].iter().zip(0..).map(|(zone, seed)| node(seed, zone, 1)).collect();
    let table = Table::compute(&nodes, &Settings::new(3));
    assert_eq!(table.load(nodes[4].id).unwrap().copies, 16384);
    assert!(table.slots().all(|slot| table.zones_of(slot) == 3));
}

#[test]
fn of_two_members_with_one_identity_the_lesser_counts() {
    let (one, other) = (node(1, "a", 2), node(1, "b", 1));
    let table = Table::compute(&[other.clone(), one.clone()], &Settings::new(2));
    assert_eq!(table.nodes(), core::slice::from_ref(&one));
    assert_eq!(Table::compute(&[one, other], &Settings::new(2)), table);
}

#[test]
fn weights_outside_their_range_count_as_the_nearest_inside() {
    let weights =
        |weights: [u32; 2]| Table::compute(&[node(1, "", weights[0]), node(2, "", weights[1])], &Settings::new(1));
    assert_eq!(weights([0, u32::MAX]), weights([1, MAX_WEIGHT]));
}

#[test]
fn a_change_of_weight_moves_copies_to_that_node_alone_or_almost() {
    let before = Table::compute(&equal_nodes(6), &Settings::new(2));
    let mut nodes = equal_nodes(6);
    nodes[2].weight = 2;
    let after = Table::compute(&nodes, &Settings::new(2));
    let gained = |id: NodeId| {
        before.slots().filter(|&slot| before.rank(slot, id).is_none() && after.rank(slot, id).is_some()).count()
    };
    let to_it = gained(nodes[2].id);
    let all: usize = nodes.iter().map(|placed| gained(placed.id)).sum();
    assert!(to_it * 10 > all * 9, "{to_it} of {all}");
}
