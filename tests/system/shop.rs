use tests::shop::Shop;

/// The demo promises these failures; without them it has nothing to show.
#[test]
fn the_shop_serves_and_fails_at_its_stated_rate() {
    let shop = Shop::open();
    let load = shop.load(100, 3);
    let lines = load.rest();
    let sum: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let (requests, failed) = (count(&sum["requests"]), count(&sum["statuses"]["502"]));
    assert!(100 <= requests, "{sum}");
    assert_eq!(count(&sum["errors"]), failed, "{sum}");
    // Every fourth visit is a checkout, every 20th of those is not paid; a late visit is left out.
    assert!((requests / 4 / 20).abs_diff(failed) <= 1, "{sum}");
}
