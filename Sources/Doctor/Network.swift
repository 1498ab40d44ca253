/// A network of IPv4 addresses, as `10.77.0.0/24`.
package struct Network: CustomStringConvertible {
  let base: UInt32
  package let prefixLength: Int

  package func contains(_ address: String) -> Bool {
    ipv4(address).map { $0 & mask == base } ?? false
  }

  fileprivate var mask: UInt32 { prefixLength == 0 ? 0 : ~0 << UInt32(32 - prefixLength) }

  package var description: String {
    let bytes = [24, 16, 8, 0].map { "\(base >> UInt32($0) & 0xFF)" }
    return "\(bytes.joined(separator: "."))/\(prefixLength)"
  }
}

/// The network that a text names, by any of its addresses; nil if it names none.
package func network(_ text: some StringProtocol) -> Network? {
  let parts = text.split(separator: "/", omittingEmptySubsequences: false)
  guard parts.count == 2, let address = ipv4(parts[0]), let length = Int(parts[1]),
    (0...32).contains(length)
  else { return nil }
  let all = Network(base: 0, prefixLength: length)
  return Network(base: address & all.mask, prefixLength: length)
}

private func ipv4(_ text: some StringProtocol) -> UInt32? {
  let bytes = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
  guard bytes.count == 4 else { return nil }
  return bytes.reduce(UInt32?(0)) { sum, byte in
    sum.flatMap { sum in byte.map { sum << 8 | UInt32($0) } }
  }
}
