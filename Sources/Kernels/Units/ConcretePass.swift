import Compute

/// A generic pass as a type that is none.
///
/// A team asks a pass by its witnesses, and those of a generic type are not specialised: register
/// tiles would be computed by calls through tables, a hundred times slower. The closure that this
/// is made with names the type, and all that it calls is specialised for it.
struct ConcretePass: ThreadedPass {
  let unitCount: Int
  let body: @Sendable (_ units: ThreadTeam.Units, _ poll: (_ scores: Int) -> Void) -> Void

  func run(_ units: ThreadTeam.Units, poll: (_ scores: Int) -> Void) { body(units, poll) }
}
