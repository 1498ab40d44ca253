import Glibc

/// The tokens that may be drawn, the most likely first, without all of them being sorted.
///
/// Tokens lie in buckets of equal width by their logits. Of each bucket the weights
/// `exp((logit − largest) / temperature)` are summed up; only those are sorted in which a cut or
/// what is drawn falls, of a vocabulary one or two of some hundred. Equal logits go by number.
///
/// - Complexity: O(`logits.count`), exponentials of the tokens that `topK` leaves, and a sort of
///   one bucket for each cut and draw.
struct RankedTokens {
  /// A token and what its probability is but for a factor.
  private typealias Candidate = (token: Int, weight: Double)

  private static let bucketCount = 512

  private let logits: [Float]
  private let temperature, largest: Double
  /// Logits below are left out.
  private let smallest: Double
  private let bucketsPerUnit: Double
  /// Of the tokens of each bucket; those after ``last`` do not count.
  private var sums = [Double](repeating: 0, count: bucketCount)
  /// The last bucket of which tokens are left, and the most of them.
  private var last = (bucket: bucketCount - 1, count: Int.max)

  /// Takes the most likely tokens.
  ///
  /// - Parameters:
  ///   - logits: one for each token, none NaN, and the largest finite.
  ///   - temperature: above 0.
  ///   - least: the part of the largest weight below which tokens are left out; above 0.
  ///   - topK: the most tokens; nil for all.
  init(_ logits: [Float], temperature: Double, least: Double, topK: Int?) {
    self.logits = logits
    self.temperature = temperature
    var (most, fewest) = (-Float.infinity, Float.infinity)
    for logit in logits {
      most = max(most, logit)
      if logit > -.infinity { fewest = min(fewest, logit) }
    }
    largest = Double(most)
    smallest = max(Double(fewest), largest + temperature * log(least))
    let scale = Double(Self.bucketCount) / (largest - smallest)
    bucketsPerUnit = scale.isFinite ? scale : 0
    if let topK { cut(after: topK) }
    for logit in logits where Double(logit) >= smallest {
      let bucket = bucket(logit)
      if bucket <= last.bucket { sums[bucket] += weight(logit) }
    }
    if last.count < .max { sums[last.bucket] = weight(of: tokens(of: last.bucket)) }
  }

  /// Takes no more than so many tokens, whose weights are not there yet.
  private mutating func cut(after most: Int) {
    var counts = [Int](repeating: 0, count: Self.bucketCount)
    for logit in logits where Double(logit) >= smallest { counts[bucket(logit)] += 1 }
    var rest = most
    for (bucket, count) in counts.enumerated() where count > 0 {
      if count >= rest { return last = (bucket, rest) }
      rest -= count
    }
  }

  /// Takes no more tokens than together have a probability.
  ///
  /// - Parameter part: above 0; tokens are taken until this part of all weights is reached.
  mutating func keep(probability part: Double) {
    let needed = part * total
    var sum = 0.0
    for bucket in 0...last.bucket {
      if sum + sums[bucket] < needed {
        sum += sums[bucket]
        continue
      }
      let tokens = tokens(of: bucket)
      let inside = tokens.firstIndex {
        sum += $0.weight
        return sum >= needed
      }
      last = (bucket, inside.map { $0 + 1 } ?? tokens.count)
      sums[bucket] = weight(of: tokens.prefix(last.count))
      return
    }
  }

  /// The token at which, counted from the most likely one, a part of all weights is exceeded.
  ///
  /// - Parameter part: from 0 to 1, without 1.
  func token(at part: Double) -> Int {
    var rest = part * total
    var end = 0
    for bucket in 0...last.bucket where sums[bucket] > 0 {
      end = bucket
      if rest >= sums[bucket] {
        rest -= sums[bucket]
        continue
      }
      for candidate in tokens(of: bucket) {
        rest -= candidate.weight
        if rest < 0 { return candidate.token }
      }
    }
    // Rounding has left something.
    let candidates = tokens(of: end)
    return candidates[candidates.count - 1].token
  }

  private var total: Double { sums[...last.bucket].reduce(0, +) }

  private func weight(of candidates: some Sequence<Candidate>) -> Double {
    candidates.reduce(0) { $0 + $1.weight }
  }

  private func weight(_ logit: Float) -> Double { exp((Double(logit) - largest) / temperature) }

  /// The bucket of a logit that is not left out.
  private func bucket(_ logit: Float) -> Int {
    min(Int((largest - Double(logit)) * bucketsPerUnit), Self.bucketCount - 1)
  }

  /// The tokens of a bucket that are left, the most likely first.
  private func tokens(of bucket: Int) -> [Candidate] {
    var found: [(token: Int, logit: Float)] = []
    for (token, logit) in logits.enumerated()
    where Double(logit) >= smallest && self.bucket(logit) == bucket {
      found.append((token, logit))
    }
    found.sort { $0.logit == $1.logit ? $0.token < $1.token : $0.logit > $1.logit }
    return found.prefix(bucket == last.bucket ? last.count : .max).map {
      ($0.token, weight($0.logit))
    }
  }
}
