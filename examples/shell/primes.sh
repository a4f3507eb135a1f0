#!/bin/sh
# Counts the primes below 300 by trial division, and the divisions that took.
stop=$1 skip_even=$2
divisions=0 primes=0 n=2
while [ $n -lt 300 ]; do
    d=2 prime=1
    while [ $d -lt $n ]; do
        [ "$stop" = root ] && [ $((d * d)) -gt $n ] && break
        divisions=$((divisions + 1))
        [ $((n % d)) -eq 0 ] && { prime=0; break; }
        if [ "$skip_even" = true ] && [ $d -gt 2 ]; then d=$((d + 2)); else d=$((d + 1)); fi
    done
    primes=$((primes + prime))
    n=$((n + 1))
done
echo "$primes primes, $divisions divisions"
echo "{\"divisions\": $divisions, \"primes\": $primes}" >> "$RATCHET_METRICS"
