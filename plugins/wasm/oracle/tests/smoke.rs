//! A short run of the fuzz target's body on random bytes. `COPATCH_CASES` sets how many modules are tried.

use copatch_wasm_oracle::compare;

#[test]
fn modules_of_random_bytes_do_the_same_here_and_in_wasmi() {
    let cases = std::env::var("COPATCH_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(300);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let (mut steps, mut returned) = (0, 0);
    for _ in 0..cases {
        let len = 64 + next() % 4000;
        let data: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        let compared = compare(&data);
        steps += compared.steps;
        returned += compared.returned;
    }
    println!("{cases} modules, {steps} steps, {returned} calls returned");
    // Modules that do nothing would show little.
    assert!(steps > 4 * cases && returned > cases, "{steps} {returned}");
}
