"""The brackets, commas and colons of JSON near its outside: where values begin and end, whatever is within them.

A byte counts by its depth, the number of objects and lists that it is in, and not at all inside a string. Nothing is
checked: what lies between two marks is for a parser.
"""

from __future__ import annotations

import numba


@numba.njit(cache=True)
def marks(data, depth, state, level, places, depths):
    """Marks of one block of a stream, and how it ends.

    data: (bytes,) uint8. depth, state: as the block before gave them; 0, 0 first. level: marks of at least this depth
    are passed over; a bracket is as deep as what it stands in.
    Filled: places (bytes,) int32, where a mark stands; depths (bytes,) int32. Returns (marks, depth, state).
    """
    found = 0
    for i in range(len(data)):
        byte = data[i]
        if state == 2:  # behind a backslash
            state = 1
        elif state == 1:  # in a string
            if byte == 92:
                state = 2
            elif byte == 34:
                state = 0
        elif byte == 34:
            state = 1
        elif byte == 123 or byte == 91:  # { [
            if depth < level:
                places[found] = i
                depths[found] = depth
                found += 1
            depth += 1
        elif byte == 125 or byte == 93:  # } ]
            if depth > 0:
                depth -= 1
            if depth < level:
                places[found] = i
                depths[found] = depth
                found += 1
        elif (byte == 44 or byte == 58) and depth < level:  # , :
            places[found] = i
            depths[found] = depth
            found += 1
    return found, depth, state
