/// What a score rule asks of the backward pass.
struct RuleNeeds {
  /// Whether its derivatives are not 1.
  var slopes = false
  /// Whether it takes the gradients of scores.
  var takesGradients = false

  /// Whether there is no rule.
  static func hasNone(_ rule: borrowing TileRule?) -> Bool {
    switch rule {
    case .none: true
    case .some: false
    }
  }

  init(_ rule: borrowing TileRule?) {
    switch rule {
    case .none: break
    case .some(let rule): (slopes, takesGradients) = (!rule.isShift, rule.takesGradients)
    }
  }
}
