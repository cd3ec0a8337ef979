//! Which pool an issue goes to.
//!
//! Guarantees: the same issue in the same state goes to the same pool; a rule or a default that names a pool
//! that is not there is refused when the routing is made. No clock, no store.
//! Never here: whether the pool has room.

use amplifier_trigger::BackgroundName;

/// The pools that an issue may go to, and the rules that choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    pools: Vec<Route>,
    default_pool: Option<BackgroundName>,
    rules: Vec<Rule>,
}

/// A pool, and the types that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The pool.
    pub pool: BackgroundName,
    /// `route_types`; a pool without any is for whatever nobody else asks for.
    pub types: Vec<String>,
}

impl Route {
    /// A pool that asks for these types.
    pub fn new(pool: BackgroundName, types: impl IntoIterator<Item = String>) -> Self {
        Self { pool, types: types.into_iter().collect() }
    }
}

/// A rule: where all that it names is so, the issue goes to its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// `if_metadata_type`: the issue's type, or that of its metadata. None: any.
    pub types: Vec<String>,
    /// `if_status`: where the issue stands, or where its last attempt left it. None: any.
    pub statuses: Vec<String>,
    /// `and_retry_count_gte`: attempts that have failed.
    pub retries: Option<u32>,
    /// `then_pool`.
    pub pool: BackgroundName,
}

impl Rule {
    /// A rule without conditions: everything goes to this pool.
    pub fn new(pool: BackgroundName) -> Self {
        Self { types: Vec::new(), statuses: Vec::new(), retries: None, pool }
    }

    fn matches(&self, issue: &Facts<'_>) -> bool {
        let is_type = |own: &str| self.types.iter().any(|named| named == own);
        let of_type = self.types.is_empty() || issue.types().any(is_type);
        let in_status = self.statuses.is_empty()
            || issue.statuses().any(|status| self.statuses.iter().any(|named| named == status));
        of_type && in_status && self.retries.is_none_or(|least| issue.retries >= least)
    }
}

/// What of an issue its way depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// `issue_type`
    pub issue_type: &'a str,
    /// `metadata.type`
    pub metadata_type: Option<&'a str>,
    /// Where it stands.
    pub status: &'a str,
    /// Where its last attempt left it: `failed`, `blocked`.
    pub left: Option<&'a str>,
    /// Attempts that have failed.
    pub retries: u32,
}

impl<'a> Facts<'a> {
    /// An issue of a type that nobody has tried yet.
    pub fn new(issue_type: &'a str) -> Self {
        Self { issue_type, metadata_type: None, status: "open", left: None, retries: 0 }
    }

    /// The type, then that of the metadata.
    fn types(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(self.issue_type).chain(self.metadata_type)
    }

    fn statuses(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(self.status).chain(self.left)
    }
}

/// No pool takes an issue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no pool takes issues of the type `{issue_type}`; add it to `route_types` of a pool, or set `routing.default_pool`"
)]
#[non_exhaustive]
pub struct NoPool {
    /// The type.
    pub issue_type: String,
}

/// A pool is named that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no pool `{pool}`; there are {}", known.join(", "))]
#[non_exhaustive]
pub struct UnknownPool {
    /// Which rule names it, counted from 0; `None` for the default.
    pub rule: Option<usize>,
    /// Its name.
    pub pool: String,
    /// The pools that there are.
    pub known: Vec<String>,
}

impl Routing {
    /// A routing over these pools. `Err`: all the names that are no pool's.
    pub fn new(
        pools: Vec<Route>,
        default_pool: Option<BackgroundName>,
        rules: Vec<Rule>,
    ) -> Result<Self, Vec<UnknownPool>> {
        let is_known = |name: &BackgroundName| pools.iter().any(|route| route.pool == *name);
        let named = rules.iter().enumerate().map(|(at, rule)| (Some(at), &rule.pool));
        let unknown: Vec<UnknownPool> = named
            .chain(default_pool.iter().map(|pool| (None, pool)))
            .filter(|(_, pool)| !is_known(pool))
            .map(|(rule, pool)| UnknownPool {
                rule,
                pool: pool.to_string(),
                known: pools.iter().map(|route| route.pool.to_string()).collect(),
            })
            .collect();
        match unknown.is_empty() {
            true => Ok(Self { pools, default_pool, rules }),
            false => Err(unknown),
        }
    }

    /// The pool of an issue: of the first rule that matches, else one that asks for its type, else the default,
    /// else the first pool that asks for no type.
    pub fn pool_of(&self, issue: Facts<'_>) -> Result<&BackgroundName, NoPool> {
        let by_rule = || self.rules.iter().find(|rule| rule.matches(&issue)).map(|rule| &rule.pool);
        let asks = |own: &str| self.pools.iter().find(|route| route.types.iter().any(|named| named == own));
        let by_type = || issue.types().find_map(asks).map(|route| &route.pool);
        let any = || self.pools.iter().find(|route| route.types.is_empty()).map(|route| &route.pool);
        by_rule()
            .or_else(by_type)
            .or(self.default_pool.as_ref())
            .or_else(any)
            .ok_or_else(|| NoPool { issue_type: issue.issue_type.to_owned() })
    }

    /// True if some rule speaks of issues whose last attempt left them in this status: then such an end is one that
    /// is tried again elsewhere.
    pub fn speaks_of(&self, status: &str) -> bool {
        self.rules.iter().any(|rule| rule.statuses.iter().any(|named| named == status))
    }

    /// The pools, in the order of their declaration.
    pub fn pools(&self) -> impl Iterator<Item = &BackgroundName> {
        self.pools.iter().map(|route| &route.pool)
    }

    /// The rules, the first that is asked first.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The pool of what nobody asks for.
    pub fn default_pool(&self) -> Option<&BackgroundName> {
        self.default_pool.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BackgroundName {
        BackgroundName::new(text).unwrap()
    }

    fn route(pool: &str, types: &[&str]) -> Route {
        Route::new(name(pool), types.iter().map(|one| (*one).to_owned()))
    }

    fn rule(types: &[&str], statuses: &[&str], retries: Option<u32>, pool: &str) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Rule { types: owned(types), statuses: owned(statuses), retries, pool: name(pool) }
    }

    fn routing() -> Routing {
        let pools =
            vec![route("coding", &["task", "bug"]), route("research", &["epic"]), route("senior", &["x"])];
        let rules = vec![
            rule(&["bug"], &[], Some(2), "senior"),
            rule(&[], &["blocked"], None, "senior"),
            rule(&["study"], &[], None, "research"),
        ];
        Routing::new(pools, Some(name("research")), rules).unwrap()
    }

    #[test]
    fn rules_come_before_types_and_types_before_the_default() {
        let routing = routing();
        let mut bug = Facts::new("bug");
        let mut study = Facts::new("task");
        study.metadata_type = Some("study");
        let check = |issue: Facts<'_>, pool: &str| assert_eq!(routing.pool_of(issue).unwrap().as_str(), pool);
        check(bug, "coding");
        check(Facts::new("epic"), "research");
        check(Facts::new("chore"), "research");
        check(study, "research");
        bug.retries = 1;
        check(bug, "coding");
        bug.retries = 2;
        check(bug, "senior");
        let mut left = Facts::new("task");
        left.left = Some("blocked");
        check(left, "senior");
    }

    #[test]
    fn without_a_default_the_first_pool_for_anything_takes_it_else_nobody() {
        let some =
            Routing::new(vec![route("a", &["bug"]), route("b", &[]), route("c", &[])], None, vec![]).unwrap();
        assert_eq!(some.pool_of(Facts::new("epic")).unwrap().as_str(), "b");
        let none = Routing::new(vec![route("a", &["bug"])], None, vec![]).unwrap();
        let error = none.pool_of(Facts::new("epic")).unwrap_err().to_string();
        assert!(error.contains("`epic`") && error.contains("routing.default_pool"), "{error}");
    }

    #[test]
    fn every_pool_that_is_not_there_is_told_with_those_that_are() {
        let rules = vec![rule(&[], &[], None, "coding"), rule(&[], &[], None, "codnig")];
        let error = Routing::new(vec![route("coding", &[])], Some(name("gone")), rules).unwrap_err();
        assert_eq!(error.len(), 2);
        assert_eq!((error[0].rule, error[0].pool.as_str()), (Some(1), "codnig"));
        assert_eq!(error[1].to_string(), "there is no pool `gone`; there are coding");
    }
}
