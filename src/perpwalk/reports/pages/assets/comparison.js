"use strict"; perpwalk.startComparison = () => {};
