/** The arguments of a view. */
export interface Place {
  /** The element of the view, empty at first. */
  readonly root: HTMLElement
  /** What follows the name of the view in the address, as the id of a user. */
  readonly argument: string
  /** Aborted when the operator leaves the view. */
  readonly signal: AbortSignal
  /** Opens the view again, as after an act. */
  reload(): void
}

export interface View {
  readonly title: string
  /** The scope that it needs. */
  readonly scope: string
  /** Whether it is in the navigation. */
  readonly isListed: boolean
  /** Throws Error with a message for the operator. */
  open(place: Place): Promise<void>
}
