import Tensors
import Testing

@Suite("Search for NaN and infinity")
struct NonFiniteTests {
  @Test(
    "The first one is found, wherever it is",
    arguments: [Float.nan, -.nan, .signalingNaN, .infinity, -.infinity])
  func found(value: Float) {
    var wrong: [[Int]] = []
    for count in [1, 7, 8, 63, 64, 65, 71, 128, 131, 200] {
      for place in 0..<count {
        var numbers = [Float](repeating: 1, count: count)
        numbers[place] = value
        if numbers.span.firstNonFiniteIndex != place { wrong.append([count, place]) }
        // Others behind it do not matter.
        numbers[count - 1] = .infinity
        if numbers.span.firstNonFiniteIndex != place { wrong.append([count, place, -1]) }
      }
    }
    #expect(wrong == [])
  }

  @Test("Finite numbers are not mistaken for others", arguments: 0...131)
  func finite(count: Int) {
    let extremes: [Float] = [
      .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0, -0.0, .leastNonzeroMagnitude, -1,
    ]
    let numbers = (0..<count).map { extremes[$0 % extremes.count] }
    #expect(numbers.span.firstNonFiniteIndex == nil)
  }
}
