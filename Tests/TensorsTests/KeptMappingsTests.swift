import Tensors
import Testing

@Suite("Kept mappings")
struct KeptMappingsTests {
  /// Mappings by number, at addresses that nobody looks at.
  private static func address(_ number: Int) -> UInt { UInt(number + 1) << 24 }

  private static func keep(_ number: Int, size: Int, in kept: inout KeptMappings) -> [UInt] {
    var unmapped: [UInt] = []
    unsafe kept.keep(
      UnsafeMutableRawPointer(bitPattern: address(number)).unsafelyUnwrapped, size: size
    ) { base, _ in unmapped.append(UInt(bitPattern: base)) }
    return unmapped
  }

  private static func take(_ size: Int, from kept: inout KeptMappings) -> UInt? {
    unsafe kept.take(size: size).map { UInt(bitPattern: $0) }
  }

  @Test("A mapping comes back once, for its size alone, the latest first")
  func sizes() {
    var kept = KeptMappings()
    let size = KeptMappings.size(for: 1 << 20)
    #expect(size == 1 << 20)
    #expect(KeptMappings.size(for: size + 1) == size + (64 << 10))
    #expect(Self.keep(0, size: size, in: &kept).isEmpty)
    #expect(Self.keep(1, size: size, in: &kept).isEmpty)
    #expect(Self.keep(2, size: 2 * size, in: &kept).isEmpty)
    #expect(Self.take(size / 2, from: &kept) == nil)
    #expect(Self.take(size, from: &kept) == Self.address(1))
    #expect(Self.take(size, from: &kept) == Self.address(0))
    #expect(Self.take(size, from: &kept) == nil)
    #expect(Self.take(2 * size, from: &kept) == Self.address(2))
  }

  @Test("What there is no room for goes back to the system, the oldest first")
  func bound() {
    var kept = KeptMappings()
    let size = KeptMappings.mostBytes / 4
    for number in 0..<4 { #expect(Self.keep(number, size: size, in: &kept).isEmpty) }
    #expect(Self.keep(4, size: 1 << 20, in: &kept) == [Self.address(0)])
    #expect(Self.keep(5, size: 2 * size, in: &kept) == [Self.address(1), Self.address(2)])
    #expect(Self.take(size, from: &kept) == Self.address(3))
    #expect(Self.take(size, from: &kept) == nil)
    // What was given away makes room again.
    #expect(Self.keep(6, size: size, in: &kept).isEmpty)
  }
}
