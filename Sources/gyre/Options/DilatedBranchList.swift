import ArgumentParser
import LongNet

/// The branches given by `--dilated W:R,W:R,…` or `--dilated geometric:W0,R,COUNT`.
struct DilatedBranchList: Hashable {
  let branches: [DilatedBranch]

  /// Far beyond any sequence, and far from where products of positions overflow.
  private static let largestSegmentLength = 1 << 40
  private static let largestRate = 1 << 31

  /// Parses a list of segment lengths with their dilation rates, or the first segment length, a
  /// ratio and how many branches there are: `geometric:2048,2,3` is `2048:1,4096:2,8192:4`.
  init(parsing text: String) throws {
    let prefix = "geometric:"
    branches =
      try text.hasPrefix(prefix)
      ? Self.geometric(String(text.dropFirst(prefix.count)))
      : text.split(separator: ",", omittingEmptySubsequences: false).map(Self.branch)
  }

  private static func branch(_ text: Substring) throws -> DilatedBranch {
    let numbers = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let length = numbers[0], let rate = numbers[1] else {
      throw ValidationError(
        "'\(text)' is not a segment length and a dilation rate; write for example "
          + "2048:1,4096:2 or geometric:2048,2,20.")
    }
    return try branch(length: length, rate: rate)
  }

  private static func branch(length: Int, rate: Int) throws -> DilatedBranch {
    guard (1...largestSegmentLength).contains(length) else {
      throw ValidationError(
        "the segment length \(length) is out of range; give one from 1 to 2^40.")
    }
    guard (1...largestRate).contains(rate) else {
      throw ValidationError("the dilation rate \(rate) is out of range; give one from 1 to 2^31.")
    }
    return DilatedBranch(segmentLength: length, dilationRate: rate)
  }

  private static func geometric(_ text: String) throws -> [DilatedBranch] {
    let fields = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    let numbers = fields.compactMap { $0 }
    guard fields.count == 3, numbers.count == 3, numbers.allSatisfy({ $0 >= 1 }) else {
      throw ValidationError(
        "'geometric:\(text)' is not a first segment length, a ratio and a number of branches, all "
          + "at least 1; write for example geometric:2048,2,20.")
    }
    let (first, ratio, count) = (numbers[0], numbers[1], numbers[2])
    guard count <= 64 else {
      throw ValidationError("\(count) branches are too many; give at most 64.")
    }
    guard ratio <= largestRate else {
      throw ValidationError("the ratio \(ratio) is out of range; give one from 1 to 2^31.")
    }
    var result = [try branch(length: first, rate: 1)]
    while result.count < count {
      let (length, rate) = (result.last?.segmentLength ?? 1, result.last?.dilationRate ?? 1)
      guard length <= largestSegmentLength / ratio, rate <= largestRate / ratio else {
        throw ValidationError(
          "branch \(result.count + 1) of 'geometric:\(text)' has a segment longer than 2^40 or a "
            + "rate over 2^31; give fewer branches or a smaller ratio.")
      }
      result.append(try branch(length: length * ratio, rate: rate * ratio))
    }
    return result
  }
}

extension DilatedBranchList: CustomStringConvertible {
  /// As it is written on the command line, without abbreviation.
  var description: String {
    branches.map { "\($0.segmentLength):\($0.dilationRate)" }.joined(separator: ",")
  }
}
