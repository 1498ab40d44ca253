/// A map from byte strings to their numbers in a table, by open addressing.
///
/// Looking up a part of a text needs no copy of it, which a `Dictionary` would.
struct ByteStringMap: Sendable {
  private(set) var keys = StringTable()

  /// The number of a key and one, or 0 where a place is free; a power of two of them.
  private var slots: [UInt32]

  /// Makes a map with room for so many keys.
  init(capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    slots = Array(repeating: 0, count: size)
  }

  /// A map of some strings of a table to their numbers; of equal ones the first counts.
  init(_ table: StringTable, where isKey: (Int) -> Bool = { _ in true }) {
    self.init(capacity: table.count)
    keys = table
    for number in 0..<table.count where isKey(number) {
      let slot = slot(of: table[number])
      if slots[slot] == 0 { slots[slot] = UInt32(number + 1) }
    }
  }

  /// How many keys there are.
  var count: Int { keys.count }

  /// Whether another key fits.
  var isFull: Bool { 2 * (keys.count + 1) > slots.count }

  /// The number of a key; nil if it is not there.
  @inline(__always)
  func number(_ key: ArraySlice<UInt8>) -> Int? {
    let found = slots[slot(of: key)]
    return found == 0 ? nil : Int(found) - 1
  }

  /// Adds a key that is not there, and returns its number.
  ///
  /// - Precondition: The map is not full.
  mutating func insert(_ key: ArraySlice<UInt8>) -> Int {
    precondition(!isFull, "no room for another key")
    let slot = slot(of: key)
    keys.append(key)
    slots[slot] = UInt32(keys.count)
    return keys.count - 1
  }

  /// The place of a key, or the free one where it belongs.
  private func slot(of key: ArraySlice<UInt8>) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in key { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    hash ^= hash >> 32
    hash &*= 0x9E37_79B9_7F4A_7C15
    var slot = Int(truncatingIfNeeded: hash >> 20) & (slots.count - 1)
    while slots[slot] != 0, !keys[Int(slots[slot]) - 1].elementsEqual(key) {
      slot = (slot + 1) & (slots.count - 1)
    }
    return slot
  }
}
