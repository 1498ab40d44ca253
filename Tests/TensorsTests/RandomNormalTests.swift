import Foundation
import Tensors
import Testing

@Suite("Random normal numbers")
struct RandomNormalTests {
  /// Elements `range` of a tensor of random numbers, written between sentinels.
  private static func numbers(_ random: RandomNormal, _ range: Range<Int>) -> [Float] {
    var numbers = [Float](repeating: 777, count: range.count + 2)
    var span = numbers.mutableSpan
    var part = span.part(1..<range.count + 1)
    random.fill(&part, from: range.lowerBound)
    #expect(numbers[0] == 777 && numbers[range.count + 1] == 777)
    return Array(numbers[1..<range.count + 1])
  }

  @Test(
    "Philox4x32-10 gives its published answers",
    arguments: [
      ([0, 0, 0, 0], [0, 0], [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]),
      (
        [0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF], [0xFFFF_FFFF, 0xFFFF_FFFF],
        [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]
      ),
      (
        [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0],
        [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
      ),
    ] as [([UInt32], [UInt32], [UInt32])])
  func knownAnswers(counter: [UInt32], key: [UInt32], answer: [UInt32]) {
    // The counter in one lane after the other, among others that must not matter.
    for lane in 0..<8 {
      var words = (0..<4).map { SIMD8<UInt32>(repeating: UInt32(31 * $0)) }
      for word in 0..<4 { words[word][lane] = counter[word] }
      let block = Philox.block(
        counters: (words[0], words[1], words[2], words[3]), key: (key[0], key[1]))
      #expect([block.0[lane], block.1[lane], block.2[lane], block.3[lane]] == answer)
    }
  }

  @Test("Every element is Box and Muller's of its own counter, in Double")
  func definition() {
    let random = RandomNormal(seed: 0x0123_4567_89AB_CDEF, tensor: 0xFEDC_BA98_7654_3210)
    // The second start is where the lowest word of the counter overflows.
    for start in [0, (1 << 34) - 64, 1 << 60] {
      let numbers = Self.numbers(random, start..<start + 4096)
      var largestError = 0.0
      for index in 0..<numbers.count {
        let (group, place) = (start + index).quotientAndRemainder(dividingBy: 32)
        let counter = UInt64(8 * group + place % 8)
        let words = Philox.block(
          counters: (
            .init(repeating: UInt32(truncatingIfNeeded: counter)),
            .init(repeating: UInt32(counter >> 32)), .init(repeating: 0x7654_3210),
            .init(repeating: 0xFEDC_BA98)
          ), key: (0x89AB_CDEF, 0x0123_4567))
        let (u, v) = place < 16 ? (words.0[0], words.1[0]) : (words.2[0], words.3[0])
        let radius = (-2 * log((Double(u) + 0.5) / 4_294_967_296)).squareRoot()
        let angle = 2 * Double.pi * Double(v) / 4_294_967_296
        let expected = radius * (place / 8 % 2 == 0 ? cos(angle) : sin(angle))
        largestError = max(largestError, abs(Double(numbers[index]) - expected))
      }
      #expect(largestError < 2e-6)
    }
  }

  @Test("A slice is the same wherever it begins and ends")
  func slices() {
    let random = RandomNormal(seed: 7, tensor: 1)
    let whole = Self.numbers(random, 0..<300)
    for start in 0..<70 {
      for count in [0, 1, 2, 7, 31, 32, 33, 64, 65, 100] {
        #expect(Self.numbers(random, start..<start + count) == Array(whole[start..<start + count]))
      }
    }
  }

  @Test("The bits are these, on every machine and in every version")
  func frozen() {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for number in Self.numbers(RandomNormal(seed: 42, tensor: 3), 5..<100_005) {
      hash = (hash ^ UInt64(number.bitPattern)) &* 0x100_0000_01B3
    }
    #expect(hash == 1_553_823_705_011_284_963)
  }

  @Test("The distribution is normal, and tensors are independent")
  func distribution() {
    let count = 1 << 20
    let numbers = Self.numbers(RandomNormal(seed: 1, tensor: 0), 0..<count).map(Double.init)
    let others = Self.numbers(RandomNormal(seed: 1, tensor: 1), 0..<count).map(Double.init)
    let shifted = Self.numbers(RandomNormal(seed: 2, tensor: 0), 0..<count).map(Double.init)
    func mean(_ term: (Int) -> Double) -> Double {
      (0..<count).map(term).reduce(0, +) / Double(count)
    }
    // Bounds of five standard errors: √(variance of the term / count).
    let unit = 5 / Double(count).squareRoot()
    #expect(abs(mean { numbers[$0] }) < unit)
    #expect(abs(mean { numbers[$0] * numbers[$0] } - 1) < unit * 2.0.squareRoot())
    #expect(abs(mean { pow(numbers[$0], 3) }) < unit * 15.0.squareRoot())
    #expect(abs(mean { pow(numbers[$0], 4) } - 3) < unit * 96.0.squareRoot())
    #expect(abs(mean { numbers[$0] * others[$0] }) < unit)
    #expect(abs(mean { numbers[$0] * shifted[$0] }) < unit)
    for lag in [1, 8, 16, 24, 32] {
      #expect(abs(mean { numbers[$0] * numbers[($0 + lag) % count] }) < unit)
    }
    // Kolmogorov and Smirnov: 1.95 / √n is exceeded once in a thousand seeds.
    let sorted = numbers.sorted()
    let distance = (0..<count).map { index in
      let probability = erfc(-sorted[index] / 2.0.squareRoot()) / 2
      return max(
        abs(probability - Double(index) / Double(count)),
        abs(probability - Double(index + 1) / Double(count)))
    }.max()
    #expect((distance ?? 1) < 1.95 / Double(count).squareRoot())
  }
}
