//! Who needs whom: the order in which services start and stop.
//!
//! ```text
//!   db ◀── api ◀── web        start: db, cache, api, web
//!   cache ◀┘                  stop:  web, api, cache, db
//! ```
//!
//! Services are numbered as they stand in the configuration, and among those that are free to
//! start that order is kept. Only edges cost memory. A graph with an unknown name or a cycle
//! cannot be built; all that is wrong is said at once.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use crate::name::ServiceName;

/// A graph without cycles over services by number.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    needs: HashMap<u32, Vec<u32>>,
    needed_by: HashMap<u32, Vec<u32>>,
    order: Vec<u32>,
}

/// Why a graph cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DependencyError {
    /// There is no service of that name.
    #[error("{service} depends on {unknown}, which is not a service")]
    Unknown {
        /// Who says so.
        service: ServiceName,
        /// The name that nobody has.
        unknown: ServiceName,
    },
    /// A service that waits for itself.
    #[error("{0} depends on itself")]
    Itself(ServiceName),
    /// Services that wait for each other.
    #[error("these depend on each other: {}", arrows(.0))]
    Cycle(Vec<ServiceName>),
}

/// A cycle as people read it: `a → b → a`.
fn arrows(cycle: &[ServiceName]) -> String {
    let mut text = String::new();
    for name in cycle.iter().chain(cycle.first()) {
        if !text.is_empty() {
            text.push_str(" → ");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}");
    }
    text
}

impl Dependencies {
    /// The graph of services in the order given, each with what it needs.
    ///
    /// # Errors
    /// Everything that is wrong with it: unknown names, services that need themselves, and a
    /// cycle for each knot.
    pub fn new(services: &[(ServiceName, Vec<ServiceName>)]) -> Result<Self, Vec<DependencyError>> {
        let mut graph = Self::default();
        let mut errors = Vec::new();
        // Names are looked up only if there is something to look up.
        let numbers: HashMap<&ServiceName, u32> =
            if services.iter().all(|(_, needs)| needs.is_empty()) {
                HashMap::new()
            } else {
                (0..)
                    .zip(services)
                    .map(|(n, (name, _))| (name, n))
                    .collect()
            };
        for (number, (name, needs)) in (0_u32..).zip(services) {
            let mut known = BTreeSet::new();
            for need in needs {
                match numbers.get(need) {
                    Some(&other) if other == number => {
                        errors.push(DependencyError::Itself(name.clone()));
                    }
                    Some(&other) => {
                        known.insert(other);
                    }
                    None => errors.push(DependencyError::Unknown {
                        service: name.clone(),
                        unknown: need.clone(),
                    }),
                }
            }
            for &other in &known {
                graph.needed_by.entry(other).or_default().push(number);
            }
            if !known.is_empty() {
                graph.needs.insert(number, known.into_iter().collect());
            }
        }
        let count = u32::try_from(services.len()).unwrap_or(u32::MAX);
        let tied = graph.sort(count);
        for cycle in graph.cycles(&tied) {
            let names = cycle.iter().map(|&n| services[n as usize].0.clone());
            errors.push(DependencyError::Cycle(names.collect()));
        }
        if errors.is_empty() {
            Ok(graph)
        } else {
            Err(errors)
        }
    }

    /// All services, each after what it needs.
    #[must_use]
    pub fn start_order(&self) -> &[u32] {
        &self.order
    }

    /// All services, each before what it needs.
    pub fn stop_order(&self) -> impl Iterator<Item = u32> + '_ {
        self.order.iter().rev().copied()
    }

    /// What that service needs itself.
    #[must_use]
    pub fn dependencies_of(&self, service: u32) -> &[u32] {
        self.needs.get(&service).map_or(&[], Vec::as_slice)
    }

    /// Who needs that service itself.
    #[must_use]
    pub fn direct_dependants_of(&self, service: u32) -> &[u32] {
        self.needed_by.get(&service).map_or(&[], Vec::as_slice)
    }

    /// Everybody who needs that service, also by way of others, in the order to stop them:
    /// those first whom nobody else of them needs.
    #[must_use]
    pub fn dependants_of(&self, service: u32) -> Vec<u32> {
        let mut found = BTreeSet::new();
        let mut open = vec![service];
        while let Some(next) = open.pop() {
            for &dependant in self.direct_dependants_of(next) {
                if found.insert(dependant) {
                    open.push(dependant);
                }
            }
        }
        // Depth first over those found alone: the whole order is not walked for one stop.
        let mut sorted = Vec::with_capacity(found.len());
        let mut seen = BTreeSet::new();
        for &root in &found {
            self.after_its_dependants(root, &mut seen, &mut sorted);
        }
        sorted
    }

    /// Appends `root` after everybody who needs it, without recursion: a chain may be long.
    fn after_its_dependants(&self, root: u32, seen: &mut BTreeSet<u32>, sorted: &mut Vec<u32>) {
        let mut path = vec![(root, 0)];
        if !seen.insert(root) {
            return;
        }
        while let Some((at, child)) = path.pop() {
            match self.direct_dependants_of(at).get(child) {
                Some(&next) => {
                    path.push((at, child + 1));
                    if seen.insert(next) {
                        path.push((next, 0));
                    }
                }
                None => sorted.push(at),
            }
        }
    }

    /// Kahn's algorithm, lowest number first. Returns those that a cycle holds back.
    fn sort(&mut self, count: u32) -> BTreeSet<u32> {
        let mut waits: HashMap<u32, usize> = self
            .needs
            .iter()
            .map(|(&n, needs)| (n, needs.len()))
            .collect();
        let mut free: BTreeSet<u32> = BTreeSet::new();
        let mut next = 0;
        self.order = Vec::with_capacity(count as usize);
        loop {
            // The untouched numbers come in order by themselves; only the freed are kept.
            while next < count && waits.contains_key(&next) {
                next += 1;
            }
            let at = match free.first().copied() {
                Some(freed) if next >= count || freed < next => {
                    free.remove(&freed);
                    freed
                }
                Some(_) | None if next < count => {
                    next += 1;
                    next - 1
                }
                Some(_) | None => break,
            };
            self.order.push(at);
            for &dependant in self.needed_by.get(&at).map_or(&[][..], Vec::as_slice) {
                if let Some(left) = waits.get_mut(&dependant) {
                    *left -= 1;
                    if *left == 0 {
                        waits.remove(&dependant);
                        if dependant < next {
                            free.insert(dependant);
                        }
                    }
                }
            }
        }
        waits.into_keys().collect()
    }

    /// One cycle for each knot among those that could not be sorted.
    fn cycles(&self, tied: &BTreeSet<u32>) -> Vec<Vec<u32>> {
        let mut cycles = Vec::new();
        let mut seen = BTreeSet::new();
        for &begin in tied {
            let mut path: Vec<u32> = Vec::new();
            let mut at = begin;
            // Everyone tied needs somebody tied, so this walk ends on its own path or on
            // ground that an earlier walk covered.
            while seen.insert(at) {
                path.push(at);
                match self.dependencies_of(at).iter().find(|n| tied.contains(n)) {
                    Some(&next) => at = next,
                    None => break,
                }
            }
            if let Some(first) = path.iter().position(|&n| n == at) {
                let mut cycle = path.split_off(first);
                // The same cycle reads the same wherever the walk met it.
                let lowest = (0..cycle.len()).min_by_key(|&i| cycle[i]).unwrap_or(0);
                cycle.rotate_left(lowest);
                if cycle.len() > 1 {
                    cycles.push(cycle);
                }
            }
        }
        cycles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    fn services(lines: &[(&str, &[&str])]) -> Vec<(ServiceName, Vec<ServiceName>)> {
        lines
            .iter()
            .map(|(service, needs)| (name(service), needs.iter().map(|n| name(n)).collect()))
            .collect()
    }

    fn errors(lines: &[(&str, &[&str])]) -> Vec<String> {
        Dependencies::new(&services(lines))
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn services_start_after_what_they_need_and_otherwise_as_configured() {
        let graph = Dependencies::new(&services(&[
            ("web", &["api"]),
            ("api", &["db", "cache"]),
            ("lone", &[]),
            ("cache", &[]),
            ("db", &[]),
        ]))
        .unwrap();
        assert_eq!(graph.start_order(), [2, 3, 4, 1, 0]);
        assert_eq!(graph.stop_order().collect::<Vec<_>>(), [0, 1, 4, 3, 2]);
        assert_eq!(graph.dependencies_of(1), [3, 4]);
        assert_eq!(graph.dependencies_of(2), [0; 0]);
        assert_eq!(graph.direct_dependants_of(4), [1]);
        assert_eq!(graph.dependants_of(4), [0, 1]);
        assert_eq!(graph.dependants_of(0), [0; 0]);
        assert_eq!(graph.dependants_of(99), [0; 0]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!(
            errors(&[("api", &["db"])]),
            ["api depends on db, which is not a service"]
        );
    }

    #[test]
    fn a_service_that_needs_itself_is_refused() {
        assert_eq!(errors(&[("api", &["api"])]), ["api depends on itself"]);
    }

    #[test]
    fn a_cycle_is_named_whole() {
        assert_eq!(
            errors(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]),
            ["these depend on each other: a → b → c → a"]
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let found = errors(&[
            ("a", &["b"]),
            ("b", &["a"]),
            ("c", &["d"]),
            ("d", &["c", "nobody"]),
            ("e", &["e"]),
        ]);
        assert_eq!(
            found,
            [
                "d depends on nobody, which is not a service",
                "e depends on itself",
                "these depend on each other: a → b → a",
                "these depend on each other: c → d → c",
            ]
        );
    }

    #[test]
    fn a_need_named_twice_counts_once() {
        let graph = Dependencies::new(&services(&[("a", &["b", "b"]), ("b", &[])])).unwrap();
        assert_eq!(graph.start_order(), [1, 0]);
        assert_eq!(graph.direct_dependants_of(1), [0]);
    }

    #[test]
    fn a_very_long_chain_does_not_overflow_the_stack() {
        let chain: Vec<_> = (0..20_000_u32)
            .map(|n| {
                let needs = n.checked_sub(1).map(|m| name(&format!("s{m}")));
                (name(&format!("s{n}")), needs.into_iter().collect())
            })
            .collect();
        let graph = Dependencies::new(&chain).unwrap();
        let dependants = graph.dependants_of(0);
        assert_eq!(dependants.len(), 19_999);
        assert_eq!(dependants.first(), Some(&19_999));
    }

    proptest! {
        #[test]
        fn every_graph_is_sorted_or_has_a_real_cycle(
            edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..30),
        ) {
            let mut list: Vec<(ServiceName, Vec<ServiceName>)> =
                (0..12).map(|n| (name(&format!("s{n}")), Vec::new())).collect();
            for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
                let need = name(&format!("s{to}"));
                list[from].1.push(need);
            }
            let needs = |a: &ServiceName, b: &ServiceName| {
                list.iter().any(|(service, needs)| service == a && needs.contains(b))
            };
            match Dependencies::new(&list) {
                Ok(graph) => {
                    let order = graph.start_order();
                    prop_assert_eq!(order.len(), 12);
                    let place = |n: u32| order.iter().position(|&m| m == n);
                    for n in 0..12 {
                        for &need in graph.dependencies_of(n) {
                            prop_assert!(place(need) < place(n));
                        }
                        let stop = graph.dependants_of(n);
                        for (i, &a) in stop.iter().enumerate() {
                            prop_assert!(place(a) > place(n));
                            for &b in &stop[i + 1..] {
                                prop_assert!(!graph.dependencies_of(b).contains(&a));
                            }
                        }
                    }
                }
                Err(found) => {
                    for error in found {
                        let DependencyError::Cycle(cycle) = error else {
                            return Err(TestCaseError::fail("not a cycle"));
                        };
                        for (i, a) in cycle.iter().enumerate() {
                            prop_assert!(needs(a, &cycle[(i + 1) % cycle.len()]));
                        }
                    }
                }
            }
        }
    }
}
