//! The cost of each program for the verifier. A jump is a warning long before it is a refusal.

use tests::require_bpf;

/// Program and the most instructions that the verifier may look at.
const BUDGET: &[(&str, u32)] = &[
];

#[test]
fn programs_stay_within_their_budget() {
    require_bpf!();
    let costs = agent::kernel::verifier_costs().unwrap_or_else(|error| panic!("{error}\n{error:?}"));
    let names: Vec<&str> = costs.iter().map(|it| it.program.as_str()).collect();
    let budgeted: Vec<&str> = BUDGET.iter().map(|(name, _)| *name).collect();
    for cost in &costs { println!("    (\"{}\", {}),", cost.program, cost.verified); }
    assert_eq!(names, budgeted, "each program needs a budget, in alphabetical order");
    for (cost, (name, most)) in costs.iter().zip(BUDGET) {
        assert!(cost.verified <= *most, "{name}: {} of {most}", cost.verified);
    }
}
