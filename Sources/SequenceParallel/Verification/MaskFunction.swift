/// A mask as a plain function, by its definition: what is added to a score, 0, a bias, or −∞.
public typealias MaskFunction =
  @Sendable (_ batch: Int, _ query: Int, _ key: Int, _ head: Int) -> Double
