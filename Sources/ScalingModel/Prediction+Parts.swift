extension Prediction {
  /// Passes one after the other as one, each so many times.
  ///
  /// - Precondition: there is a part, and all have as many ranks.
  public static func sum(of parts: [(prediction: Prediction, times: Double)]) -> Prediction {
    precondition(!parts.isEmpty, "nothing is predicted")
    func sum(_ number: KeyPath<Prediction, Double>) -> Double {
      parts.reduce(0) { $0 + $1.times * $1.prediction[keyPath: number] }
    }
    let longest = parts.max { $0.times * $0.prediction.seconds < $1.times * $1.prediction.seconds }
    let (first, seconds) = (parts[0].prediction, sum(\.seconds))
    // What one rank would take for it all.
    let alone = parts.reduce(0) {
      $0 + $1.times * $1.prediction.efficiency * Double(first.ranks) * $1.prediction.seconds
    }
    return Prediction(
      ranks: first.ranks, hosts: first.hosts, seconds: seconds,
      computeSeconds: sum(\.computeSeconds), exposedSeconds: sum(\.exposedSeconds),
      imbalanceSeconds: sum(\.imbalanceSeconds), bytesSentPerRank: sum(\.bytesSentPerRank),
      residentBytes: parts.reduce(0) { max($0, $1.prediction.residentBytes) },
      flops: sum(\.flops), efficiency: alone / (Double(first.ranks) * seconds),
      limit: longest?.prediction.limit ?? .none)
  }

  /// The same with work of every rank beside, and with more memory and bytes.
  public func adding(seconds: Double, bytesSent: Double, residentBytes: Double) -> Prediction {
    Prediction(
      ranks: ranks, hosts: hosts, seconds: self.seconds + seconds,
      computeSeconds: computeSeconds + seconds, exposedSeconds: exposedSeconds,
      imbalanceSeconds: imbalanceSeconds, bytesSentPerRank: bytesSentPerRank + bytesSent,
      residentBytes: self.residentBytes + residentBytes, flops: flops,
      efficiency: efficiency * self.seconds / (self.seconds + seconds), limit: limit)
  }
}
